// A picture to begin from: chosen, dropped, pasted, or one that was drawn here.

import { button, el, fresh, say } from "./dom.js";

export class Picker {
  /** several: more than one at once. onchange: called when it is another. */
  constructor({ label, several = false, onchange = () => {} }) {
    Object.assign(this, { several, onchange, files: [], bitmap: null });
    this.input = el("input", {
      type: "file",
      accept: "image/*,.tif,.tiff,.npy,.dcm",
      multiple: several,
      class: "unseen",
      id: fresh("picture"),
    });
    this.input.addEventListener("change", () => this.take([...this.input.files]));
    this.shown = el("div", { class: "picked" });
    this.drop = el(
      "label",
      { class: "drop", htmlFor: this.input.id },
      el("strong", {}, label),
      el("span", { class: "hint" }, "Choose, drop or paste an image file."),
    );
    this.element = el("div", { class: "picker" }, this.input, this.drop, this.shown);
    for (const kind of ["dragenter", "dragover"]) {
      this.element.addEventListener(kind, (event) => {
        event.preventDefault();
        event.stopPropagation();
        this.element.classList.add("over");
      });
    }
    this.element.addEventListener("dragleave", () => this.element.classList.remove("over"));
    this.element.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.element.classList.remove("over");
      this.take([...event.dataTransfer.files]);
    });
  }

  /** Files, by hand or from elsewhere on the page. */
  async take(files) {
    const some = this.several ? files : files.slice(0, 1);
    if (!some.length) return;
    this.files = some;
    this.bitmap = await createImageBitmap(some[0]).catch(() => null);
    this.show();
    say(`${some.map((file) => file.name).join(", ")} is chosen.`, true);
    this.onchange();
  }

  remove() {
    this.files = [];
    this.bitmap = null;
    this.input.value = "";
    this.show();
    this.onchange();
    this.input.focus();
  }

  show() {
    this.drop.classList.toggle("filled", this.files.length > 0);
    if (!this.files.length) {
      this.shown.replaceChildren();
      return;
    }
    const names = this.files.map((file) => file.name).join(", ");
    const size = this.bitmap
      ? `${this.bitmap.width} × ${this.bitmap.height}`
      : "This browser cannot show it; the model may still read it.";
    this.shown.replaceChildren(
      ...(this.bitmap ? [thumbnail(this.bitmap)] : []),
      el("p", {}, el("span", { class: "name" }, names), el("span", { class: "hint" }, size)),
      button("Remove", () => this.remove(), { class: "small" }),
    );
  }

  /** As a control of the form. */
  control(name) {
    return {
      name,
      element: this.element,
      get: () => (this.files.length ? (this.several ? this.files : this.files[0]) : undefined),
      set: () => false,
      clear: () => {},
      focus: () => this.input.focus(),
    };
  }
}

function thumbnail(bitmap) {
  const scale = Math.min(1, 96 / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = el("canvas", { width, height, class: "thumbnail", "aria-hidden": "true" });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height);
  return canvas;
}
