// Boxes with classes: drawn, moved and typed; each change can be undone.

import { button, el, labelled, say } from "../dom.js";
import { Board, colourOf } from "./board.js";
import { boxOf } from "./brush.js";

export class Boxes {
  /** names: of the classes; none where they are numbers. most: boxes that the model reads. */
  constructor(width, height, { names, boxes: most }) {
    Object.assign(this, { width, height, names, most, boxes: [], done: [], rubber: null });
    this.board = new Board({
      width,
      height,
      name: "Layout: draw boxes",
      hands: this.hands(),
      paint: (pen, board) => this.paint(pen, board),
    });
    this.chooser = this.classes(names[0] ?? 0);
    this.list = el("ol", { class: "boxes" });
    this.undo = button("Undo", () => this.back(), { class: "small" });
    this.clear = button("Clear", () => this.change([]), { class: "small" });
    this.add = button(
      "Add a box",
      () => this.put([Math.round(width / 4), Math.round(height / 4), Math.round(width / 2), Math.round(height / 2)]),
      { class: "small" },
    );
    this.element = el(
      "div",
      { class: "painting" },
      this.board.element,
      el(
        "div",
        { class: "tools" },
        labelled("Class of the next box", this.chooser),
        el("div", { class: "row" }, this.add, this.undo, this.clear),
      ),
      this.list,
    );
    this.show();
  }

  hands() {
    let from = null;
    return {
      begin: (at) => {
        from = at;
        this.rubber = [at, at];
      },
      move: (at) => (this.rubber = [from, at]),
      end: () => {
        const [x, y, width, height] = boxOf(...this.rubber);
        this.rubber = null;
        const inside = [
          Math.max(0, x),
          Math.max(0, y),
          Math.min(width, this.width - x),
          Math.min(height, this.height - y),
        ];
        if (width > 1 && height > 1) this.put(inside);
        this.board.draw();
      },
      drop: () => (this.rubber = null),
    };
  }

  classes(chosen) {
    if (!this.names.length) return el("input", { type: "number", min: 0, value: chosen });
    const select = el(
      "select",
      {},
      this.names.map((name) => el("option", { value: name }, name)),
    );
    select.value = chosen;
    return select;
  }

  label(control) {
    return this.names.length ? control.value : Number(control.value);
  }

  put(bbox) {
    if (this.boxes.length >= this.most) {
      say(`This model reads at most ${this.most} boxes.`);
      return;
    }
    this.change([...this.boxes, { label: this.label(this.chooser), bbox }]);
  }

  change(boxes) {
    this.done.push(this.boxes);
    this.boxes = boxes;
    this.show();
  }

  back() {
    this.boxes = this.done.pop() ?? this.boxes;
    this.show();
  }

  show() {
    this.undo.disabled = !this.done.length;
    this.clear.disabled = !this.boxes.length;
    this.add.disabled = this.boxes.length >= this.most;
    this.list.replaceChildren(...this.boxes.map((box, index) => this.row(box, index)));
    this.board.draw();
    this.element.dispatchEvent(new Event("painted"));
  }

  row(box, index) {
    const label = this.classes(box.label);
    label.setAttribute("aria-label", `Class of box ${index + 1}`);
    const numbers = ["left", "top", "width", "height"].map((side, at) =>
      el("input", {
        type: "number",
        "aria-label": `Box ${index + 1}: ${side}`,
        min: at < 2 ? 0 : 1,
        max: at % 2 ? this.height : this.width,
        value: box.bbox[at],
      }),
    );
    const change = () => {
      if (!numbers.every((input) => input.checkValidity() && input.value !== "")) return;
      this.done.push(this.boxes);
      this.boxes = this.boxes.with(index, {
        label: this.label(label),
        bbox: numbers.map((input) => Number(input.value)),
      });
      this.undo.disabled = false;
      this.clear.disabled = false;
      mark.style.background = this.colour(this.boxes[index]);
      this.board.draw();
    };
    for (const control of [label, ...numbers]) control.addEventListener("change", change);
    const mark = el("span", { class: "swatch" });
    mark.style.background = this.colour(box);
    const remove = button("×", () => this.change(this.boxes.toSpliced(index, 1)), {
      class: "icon",
      "aria-label": `Remove box ${index + 1}`,
    });
    return el("li", {}, mark, label, el("div", { class: "sides" }, numbers), remove);
  }

  colour(box, alpha = 1) {
    const number = this.names.length ? this.names.indexOf(box.label) : Number(box.label);
    return colourOf(number + 1, alpha);
  }

  paint(pen, board) {
    pen.font = `600 ${Math.round(board.canvas.width / 28)}px system-ui, sans-serif`;
    pen.textBaseline = "top";
    for (const box of this.boxes)
      this.paintBox(
        pen,
        box.bbox.map((value) => value * board.scale),
        this.colour(box, 0.25),
        this.colour(box),
        String(box.label),
      );
    if (this.rubber)
      this.paintBox(
        pen,
        boxOf(...this.rubber).map((value) => value * board.scale),
        "rgb(127 127 127 / .2)",
        "#888",
        "",
      );
  }

  paintBox(pen, [x, y, width, height], fill, line, name) {
    pen.fillStyle = fill;
    pen.fillRect(x, y, width, height);
    pen.lineWidth = 3;
    pen.strokeStyle = line;
    pen.strokeRect(x, y, width, height);
    pen.fillStyle = getComputedStyle(this.board.canvas).color;
    pen.fillText(name, x + 8, y + 8);
  }

  /** What was placed at another size. */
  adopt(other) {
    const [across, down] = [this.width / other.width, this.height / other.height];
    this.boxes = other.boxes.map(({ label, bbox }) => ({
      label,
      bbox: bbox.map((side, at) => Math.round(side * (at % 2 ? down : across) * 100) / 100),
    }));
    this.show();
  }

  get isEmpty() {
    return !this.boxes.length;
  }

  /** As the API takes them, with the size that their numbers are told in. */
  value() {
    return this.boxes.map(({ label, bbox }) => ({ label, bbox }));
  }
}
