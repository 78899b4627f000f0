// One picture: large, with its seed and recipe, to be saved, used and removed.

import * as api from "./api.js";
import { button, el, say } from "./dom.js";
import * as jobs from "./jobs.js";
import { withoutTexts } from "./png.js";
import { ofJob } from "./settings.js";

const TOLD = ["seed", "steps", "solver", "guidance", "levels", "size", "strength", "model"];
const FROM = ["inpaint", "outpaint", "vary", "upscale"];

const isShown = (image) => image.output_format !== "tiff";

export const words = (job, index) => jobs.title(job) || job.images[index]?.prompt || job.task;

/** An <img> of a picture of a job; small ones are shown with their pixels. */
export function image(job, index, attributes = {}) {
  const told = job.images[index];
  if (!isShown(told)) return el("span", { class: "unshown" }, "16 bits a channel: save it to see it.");
  const seed = told.seed === undefined ? "" : `, seed ${told.seed}`;
  const shown = el("img", { alt: `${words(job, index)}${seed}`, decoding: "async", loading: "lazy", ...attributes });
  shown.addEventListener("load", () =>
    shown.classList.toggle("pixels", Math.max(shown.naturalWidth, shown.naturalHeight) <= 256),
  );
  api.showIn(shown, told.url).catch(() => shown.classList.add("missing"));
  return shown;
}

export async function fileOf(job, index) {
  const told = job.images[index];
  const data = await api.blob(told.url);
  return new File([data], `${told.seed === undefined ? job.id : `seed-${told.seed}`}.${told.output_format}`, {
    type: data.type,
  });
}

/** Save it as it is, or without what its file says of how it was made. */
export async function save(job, index, bare) {
  const file = await fileOf(job, index);
  const data = bare && file.type === "image/png" ? withoutTexts(new Uint8Array(await file.arrayBuffer())) : file;
  const link = el("a", { href: URL.createObjectURL(data), download: file.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  say(bare ? `${file.name} is saved without metadata.` : `${file.name} is saved.`);
}

export class PictureDialog {
  /** use(settings): fill the form. begin(task, file): a task from the picture. */
  constructor({ use, begin, tasks }) {
    Object.assign(this, { use, begin, tasks });
    this.dialog = document.getElementById("picture");
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowRight") this.go(1);
      if (event.key === "ArrowLeft") this.go(-1);
    });
  }

  /** ones: [job, index] of all that one may go on to. */
  open(ones, at) {
    Object.assign(this, { ones, at });
    this.show();
    if (!this.dialog.open) this.dialog.showModal();
  }

  go(step) {
    const next = this.at + step;
    if (next < 0 || next >= this.ones.length) return;
    this.at = next;
    this.show();
  }

  show() {
    const [job, index] = this.ones[this.at];
    const move = (label, step, name) =>
      button(label, () => this.go(step), { class: "icon", "aria-label": name, disabled: !this.ones[this.at + step] });
    this.dialog.replaceChildren(
      el("div", { class: "large" }, image(job, index, { loading: "eager" })),
      el(
        "div",
        { class: "about" },
        el(
          "div",
          { class: "row bar" },
          move("←", -1, "Picture before"),
          move("→", 1, "Next picture"),
          el("span", { class: "space" }),
          button("×", () => this.dialog.close(), { class: "icon", "aria-label": "Close" }),
        ),
        el("h2", { id: "picture-title" }, words(job, index)),
        this.recipe(job, index),
        ...this.actions(job, index),
      ),
    );
  }

  recipe(job, index) {
    const told = { ...job.options, ...job.images[index], model: job.model };
    const rows = TOLD.filter(
      (name) => told[name] !== undefined && told[name] !== null && typeof told[name] !== "object",
    );
    const date = new Date(job.created * 1000).toLocaleString();
    return el(
      "dl",
      {},
      [["task", job.task], ...rows.map((name) => [name, String(told[name])]), ["drawn", date]].map(([name, value]) => [
        el("dt", {}, name),
        el("dd", {}, value),
      ]),
    );
  }

  *actions(job, index) {
    const closing = (doing) => () => {
      this.dialog.close();
      return doing();
    };
    yield button(
      "Use these settings",
      closing(() => this.use(ofJob(job, index))),
      { class: "go" },
    );
    yield el(
      "div",
      { class: "row" },
      button("Save", () => save(job, index, false), { class: "small" }),
      job.images[index].output_format === "png"
        ? button("Save without metadata", () => save(job, index, true), { class: "small" })
        : null,
    );
    const from = FROM.filter((task) => this.tasks(job.model).includes(task));
    if (from.length)
      yield el(
        "div",
        { class: "from", role: "group", "aria-label": "Begin from this picture" },
        el("p", { class: "hint" }, "Begin from this picture"),
        el(
          "div",
          { class: "row" },
          from.map((task) =>
            button(
              task.replace(/^./, (letter) => letter.toUpperCase()),
              closing(async () => this.begin(job.model, task, await fileOf(job, index))),
              { class: "small" },
            ),
          ),
        ),
      );
    const many = job.images.length > 1 ? `Delete all ${job.images.length} of this job` : "Delete";
    yield el(
      "div",
      { class: "row" },
      button(
        many,
        closing(async () => {
          await jobs.remove(job);
          say("Deleted.");
        }),
        { class: "quiet alarm small" },
      ),
    );
  }
}
