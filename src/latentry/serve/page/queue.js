// The jobs that are under way or wait, and those that came to nothing: to be moved, cancelled, done again.

import { button, duration, el, plural, say } from "./dom.js";
import * as jobs from "./jobs.js";

const MOST_FAILED = 3;

export class Queue {
  /** watch(job): look at it. */
  constructor(place, watch) {
    Object.assign(this, { place, watch, rows: new Map() });
    this.heading = el("h2", {}, "Queue");
    this.list = el("ol", { class: "queue" });
    place.replaceChildren(this.heading, this.list);
    jobs.listen((all) => this.show(all));
  }

  show(all) {
    const running = all.filter(({ status }) => status === "running").reverse();
    const waiting = all
      .filter(({ status }) => status === "queued")
      .sort((one, other) => (one.place ?? 0) - (other.place ?? 0));
    const failed = all
      .filter(({ status }) => ["failed", "cancelled", "interrupted"].includes(status))
      .slice(0, MOST_FAILED);
    const shown = [...running, ...waiting, ...failed];
    this.place.hidden = !shown.length;
    this.heading.textContent =
      running.length + waiting.length ? `Queue: ${plural(running.length + waiting.length, "job")}` : "Queue";
    const before = this.rows;
    this.rows = new Map(shown.map((job) => [job.id, before.get(job.id) ?? new Row(this)]));
    for (const job of shown) this.rows.get(job.id).show(job, waiting);
    const elements = shown.map(({ id }) => this.rows.get(id).element);
    const now = [...this.list.children];
    if (elements.length !== now.length || elements.some((element, index) => element !== now[index]))
      this.order(elements);
  }

  /** In a new order; the keyboard stays where it is. */
  order(elements) {
    const held = document.activeElement;
    this.list.replaceChildren(...elements);
    if (held?.isConnected && this.list.contains(held)) held.focus();
  }
}

class Row {
  constructor(queue) {
    this.queue = queue;
    this.name = button("", () => queue.watch(this.job), { class: "link" });
    this.state = el("span", { class: "hint" });
    this.bar = el("progress", { max: 1 });
    this.up = button("↑", () => this.move(-1), { class: "icon" });
    this.down = button("↓", () => this.move(1), { class: "icon" });
    this.retry = button("Retry", () => this.again(), { class: "small" });
    this.end = button("", () => jobs.remove(this.job), { class: "small" });
    this.element = el(
      "li",
      {},
      el("div", {}, this.name, this.state, this.bar),
      el("div", { class: "row" }, this.up, this.down, this.retry, this.end),
    );
  }

  show(job, waiting) {
    const place = waiting.indexOf(job);
    Object.assign(this, { job, place });
    const title = jobs.title(job);
    const name = `${job.task.replace(/^./, (letter) => letter.toUpperCase())}${title ? `: ${title}` : ""}`;
    set(this.name, name);
    set(this.state, this.told(job));
    this.bar.hidden = job.status !== "running";
    this.bar.value = job.steps ? job.step / job.steps : 0;
    this.bar.setAttribute("aria-label", `Steps taken of ${name}`);
    this.up.hidden = this.down.hidden = place < 0;
    this.up.disabled = place === 0;
    this.down.disabled = place === waiting.length - 1;
    this.up.setAttribute("aria-label", `Sooner: ${name}`);
    this.down.setAttribute("aria-label", `Later: ${name}`);
    this.retry.hidden = !jobs.ended(job);
    set(this.end, jobs.ended(job) ? "Remove" : "Cancel");
    this.end.setAttribute("aria-label", `${this.end.textContent}: ${name}`);
    this.retry.setAttribute("aria-label", `Retry: ${name}`);
  }

  told({ status, error, step, steps, seconds_left: left }) {
    if (status === "running")
      return steps ? `${step} of ${steps}${left === null ? "" : `, ${duration(left)} left`}` : "Beginning";
    if (status === "queued") return this.place === 0 ? "Next" : `Waiting, ${plural(this.place, "job")} ahead`;
    return error && status === "failed" ? error.message : status.replace(/^./, (letter) => letter.toUpperCase());
  }

  async move(step) {
    await jobs.move(this.job, this.place + step);
    say(`Now in place ${this.place + 1}.`, true);
  }

  async again() {
    this.queue.watch(await jobs.retry(this.job));
  }
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
