// The job that is looked at: its pictures as they come, how far it is, and what became of it.

import * as api from "./api.js";
import { button, duration, el, plural, say } from "./dom.js";
import * as jobs from "./jobs.js";
import { image, words } from "./picture.js";

export class Stage {
  /** open(ones, at): look at pictures closely. */
  constructor(place, open) {
    Object.assign(this, { place, open, id: null, stop: null });
    this.place.replaceChildren(this.empty());
  }

  empty() {
    const canvas = el("canvas", { width: 12, height: 12, class: "noise", "aria-hidden": "true" });
    const pen = canvas.getContext("2d");
    for (let y = 0; y < 12; y += 1) {
      for (let x = 0; x < 12; x += 1) {
        const far = Math.hypot(x - 5.5, y - 5.5) / 7.8;
        pen.fillStyle = `hsl(${205 + 60 * Math.random()} 45% ${50 + 25 * Math.random()}% / ${Math.max(0, 1 - far ** 2) * (0.15 + 0.5 * Math.random())})`;
        pen.fillRect(x, y, 1, 1);
      }
    }
    return el(
      "div",
      { class: "empty" },
      canvas,
      el("p", {}, "Your pictures come here."),
      el(
        "p",
        { class: "hint" },
        "Drop a picture that latentry drew anywhere on this page, and its settings are restored.",
      ),
    );
  }

  /** Look at a job: also at one that has ended. */
  watch(job) {
    if (this.id === job.id) return;
    this.stop?.abort();
    this.id = this.place.dataset.job = job.id;
    if (jobs.ended(job)) this.end(job);
    else this.follow(job);
  }

  async follow(job) {
    const stop = (this.stop = new AbortController());
    this.begin(job);
    try {
      await api.events(`/v1/jobs/${job.id}/events`, stop.signal, (type, data) => this.told(type, data));
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof TypeError) && !(error instanceof api.ApiError)) throw error;
    }
    if (stop.signal.aborted) return;
    await jobs.refresh();
    const now = jobs.find(job.id);
    if (!now) this.clear();
    else if (!jobs.ended(now)) setTimeout(() => stop.signal.aborted || this.follow(now), 1000); // the connection broke
  }

  /** What is there of a job that has not ended. */
  begin(job) {
    const count = Number(job.options.n ?? job.options.frames ?? 1);
    this.frames = Array.from({ length: Math.min(count, 64) }, () => el("div", { class: "frame waiting" }));
    this.bar = el("progress", { max: 1, value: 0, "aria-label": "Steps taken" });
    this.line = el("p", { class: "line" }, "Waiting");
    const cancel = button("Cancel", () => jobs.remove(job));
    this.place.replaceChildren(grid(this.frames), el("div", { class: "under-pictures" }, this.line, cancel), this.bar);
    this.step(job);
  }

  told(type, data) {
    if (jobs.ENDS.includes(type)) {
      const live = this.bar;
      this.end(data);
      if (live)
        say(
          data.status === "completed"
            ? `${plural(data.images.length, "picture")} drawn.`
            : `The job was ${data.status}.`,
          true,
        );
      jobs.refresh();
      return;
    }
    if (type === "preview") data.images.forEach((one, index) => this.preview(this.frames[data.first + index], one));
    this.step(data);
  }

  preview(frame, data) {
    if (!frame) return;
    const shown = frame.querySelector("img") ?? el("img", { alt: "Preview", class: "preview" });
    shown.onload = () => shown.classList.toggle("pixels", Math.max(shown.naturalWidth, shown.naturalHeight) <= 256);
    shown.src = `data:image/png;base64,${data}`;
    frame.classList.remove("waiting");
    if (!shown.isConnected) frame.append(shown);
  }

  step({ status, step = 0, steps = 0, seconds_left: left }) {
    this.bar.value = steps ? step / steps : 0;
    const ahead = left === null || left === undefined ? "" : `, ${duration(left)} left`;
    this.line.textContent =
      status === "queued" ? "Waiting for its turn" : steps ? `Step ${step} of ${steps}${ahead}` : "Beginning";
  }

  end(job) {
    this.bar = null;
    const ones = job.images.map((_, index) => [job, index]);
    if (!ones.length) {
      this.place.replaceChildren(
        el(
          "div",
          { class: "ending" },
          el(
            "p",
            {},
            { failed: "This could not be drawn.", cancelled: "Cancelled. Nothing of it was kept." }[job.status] ??
              `The job was ${job.status}.`,
          ),
          job.error && job.status !== "cancelled"
            ? el("p", { class: "problem", role: "alert" }, job.error.message)
            : null,
        ),
      );
      return;
    }
    const shown = ones.map(([, index]) =>
      button(image(job, index, { loading: "eager" }), () => this.open(ones, index), {
        class: "frame",
        "aria-haspopup": "dialog",
      }),
    );
    const seeds = [...new Set(job.images.map(({ seed }) => seed).filter((seed) => seed !== undefined))];
    const told = seeds.length ? `seed ${seeds.length > 1 ? `${seeds[0]} to ${seeds.at(-1)}` : seeds[0]}` : job.task;
    this.place.replaceChildren(
      grid(shown),
      el(
        "div",
        { class: "under-pictures" },
        el("p", { class: "line" }, el("strong", {}, words(job, 0)), el("span", { class: "hint" }, told)),
      ),
    );
  }

  clear() {
    this.id = null;
    delete this.place.dataset.job;
    this.place.replaceChildren(this.empty());
  }
}

function grid(frames) {
  const across = frames.length < 2 ? 1 : frames.length < 5 ? 2 : frames.length < 10 ? 3 : 4;
  const element = el("div", { class: "pictures" }, frames);
  element.style.setProperty("--across", across);
  return element;
}
