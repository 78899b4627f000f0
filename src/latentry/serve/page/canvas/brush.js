// Painting numbers over an image: the mask of a hole, or a map of classes. Brush, box, undo; boxes by numbers as well.

import { button, choices, el, labelled, say } from "../dom.js";
import { greyPng } from "../png.js";
import { Board, colourOf } from "./board.js";
import { Raster } from "./raster.js";

const HOLE = 255;

/** What masks and maps have in common. values: [{value, name}] that can be painted; the first is `empty`'s eraser. */
class Brush {
  constructor({ width, height, name, values, empty, start, colour }) {
    this.raster = new Raster(width, height, empty);
    this.colour = colour;
    this.value = start;
    this.tool = "brush";
    this.layer = el("canvas", { width, height });
    this.board = new Board({ width, height, name, hands: this.hands(), paint: (pen, board) => this.paint(pen, board) });
    const side = Math.max(width, height);
    this.size = el("input", {
      type: "range",
      min: 1,
      max: Math.max(2, Math.round(side / 2)),
      value: Math.max(1, Math.round(side / 8)),
    });
    this.element = el("div", { class: "painting" }, this.board.element, this.toolbar(values), this.byNumbers());
    this.changed();
  }

  hands() {
    let from = null;
    return {
      begin: (at) => {
        this.raster.begin();
        from = at;
        this.rubber = null;
        if (this.tool === "brush") this.raster.disc(...at, this.diameter, this.value);
        else this.rubber = [at, at];
        this.showLayer();
      },
      move: (at) => {
        if (this.tool === "brush") {
          this.raster.line(from, at, this.diameter, this.value);
          from = at;
          this.showLayer();
        } else this.rubber = [from, at];
      },
      end: () => {
        if (this.rubber) this.raster.box(...boxOf(...this.rubber), this.value);
        this.rubber = null;
        this.raster.end();
        this.changed();
      },
      drop: () => {
        this.rubber = null;
        this.raster.drop();
        this.changed();
      },
    };
  }

  get diameter() {
    return Number(this.size.value);
  }

  toolbar(values) {
    const turn = (step) => () => {
      this.raster[step]();
      this.changed();
    };
    this.undo = button("Undo", turn("undo"), { class: "small" });
    this.redo = button("Redo", turn("redo"), { class: "small" });
    this.clear = button("Clear", () => this.fill(() => this.raster.empty), { class: "small" });
    this.element_ = el(
      "div",
      { class: "tools" },
      el(
        "div",
        { class: "both" },
        choices(
          "Tool",
          [
            ["brush", "Brush"],
            ["box", "Box"],
          ],
          this.tool,
          (tool) => (this.tool = tool),
        ),
        choices(
          "Paint",
          values.map(({ value, name }) => [value, name, this.swatch(value)]),
          this.value,
          (value) => (this.value = Number(value)),
        ),
      ),
      labelled("Brush size", this.size),
      el("div", { class: "row" }, this.undo, this.redo, this.clear, ...this.further()),
    );
    this.element_.addEventListener(
      "keydown",
      (event) => event.key === "Enter" && event.target.type === "range" && event.preventDefault(),
    );
    return this.element_;
  }

  swatch() {
    return null;
  }

  further() {
    return [];
  }

  fill(change) {
    this.raster.map(change);
    this.changed();
  }

  /** The same without a pointer. */
  byNumbers() {
    const { width, height } = this.raster;
    const fields = [
      ["x", "Left", 0, width - 1, 0],
      ["y", "Top", 0, height - 1, 0],
      ["w", "Width", 1, width, Math.ceil(width / 2)],
      ["h", "Height", 1, height, Math.ceil(height / 2)],
    ];
    const inputs = fields.map(([, , min, max, value]) => el("input", { type: "number", min, max, value }));
    const add = button(
      "Paint this box",
      () => {
        if (!inputs.every((input) => input.reportValidity())) return;
        this.raster.begin();
        this.raster.box(...inputs.map((input) => Math.round(Number(input.value))), this.value);
        this.raster.end();
        this.changed();
        say("The box is painted.", true);
      },
      { class: "small" },
    );
    return el(
      "details",
      { class: "numbers" },
      el("summary", {}, "A box by numbers"),
      el(
        "div",
        { class: "four" },
        inputs.map((input, index) => labelled(fields[index][1], input)),
      ),
      add,
    );
  }

  changed() {
    this.showLayer();
    this.undo.disabled = !this.raster.done.length;
    this.redo.disabled = !this.raster.undone.length;
    this.clear.disabled = this.raster.share === 0;
    this.element.dispatchEvent(new Event("painted"));
  }

  showLayer() {
    const { width, values, dirty } = this.raster;
    if (dirty) {
      const [across, down] = [dirty.right - dirty.left, dirty.bottom - dirty.top];
      const pen = this.layer.getContext("2d");
      const image = pen.createImageData(across, down);
      const words = new Uint32Array(image.data.buffer);
      const colours = (this.colours ??= Uint32Array.from({ length: 256 }, (_, value) => rgba(this.colour(value))));
      for (let row = 0; row < down; row += 1) {
        const start = (dirty.top + row) * width + dirty.left;
        for (let column = 0; column < across; column += 1)
          words[row * across + column] = colours[values[start + column]];
      }
      pen.putImageData(image, dirty.left, dirty.top);
      this.raster.dirty = null;
    }
    this.board?.draw();
  }

  paint(pen, board) {
    pen.drawImage(this.layer, 0, 0, board.canvas.width, board.canvas.height);
    if (!this.rubber) return;
    const [x, y, width, height] = boxOf(...this.rubber).map((value) => value * board.scale);
    pen.lineWidth = 2;
    pen.strokeStyle = "#000";
    pen.strokeRect(x, y, width, height);
    pen.setLineDash([6, 6]);
    pen.strokeStyle = "#fff";
    pen.strokeRect(x, y, width, height);
    pen.setLineDash([]);
  }

  get isEmpty() {
    return this.raster.share === 0;
  }

  file() {
    return greyPng(this.raster.values, this.raster.width, this.raster.height);
  }

  /** What was painted at another size. */
  adopt({ raster: other }) {
    const { width, height } = this.raster;
    let index = 0;
    this.fill(() => {
      const [x, y] = [index % width, Math.floor(index / width)];
      index += 1;
      return other.values[
        Math.floor((y * other.height) / height) * other.width + Math.floor((x * other.width) / width)
      ];
    });
  }

  /** What an image holds, as `take` reads it of red: (0 to 255) to a value. */
  load(bitmap, take) {
    const { width, height } = this.raster;
    const pen = el("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
    pen.imageSmoothingEnabled = false;
    pen.drawImage(bitmap, 0, 0, width, height);
    const { data } = pen.getImageData(0, 0, width, height);
    let index = 0;
    this.fill(() => take(data[4 * index++]));
  }
}

/** Where an image is to be filled: 255, and 0 where it is kept. */
export class MaskBrush extends Brush {
  constructor(width, height) {
    const values = [
      { value: HOLE, name: "Fill" },
      { value: 0, name: "Keep" },
    ];
    super({
      width,
      height,
      name: "Mask: paint what is to be filled",
      values,
      empty: 0,
      start: HOLE,
      colour: (value) => (value ? [36, 86, 200, 185] : [0, 0, 0, 0]),
    });
  }

  further() {
    return [button("Invert", () => this.fill((value) => HOLE - value), { class: "small" })];
  }
}

/** A class for each pixel. */
export class MapBrush extends Brush {
  constructor(width, height, { classes, unlabelled }) {
    const values = Array.from({ length: classes }, (_, value) => ({ value, name: String(value) }));
    const empty = unlabelled !== null && unlabelled < 256 ? unlabelled : 0;
    super({
      width,
      height,
      name: "Map: paint where which class is",
      values,
      empty,
      start: Math.min(1, classes - 1),
      colour: (value) => channels(colourOf(value)),
    });
  }

  swatch(value) {
    const mark = el("span", { class: "swatch" });
    mark.style.background = colourOf(value);
    return mark;
  }
}

export function boxOf([x1, y1], [x2, y2]) {
  const [left, top] = [Math.floor(Math.min(x1, x2)), Math.floor(Math.min(y1, y2))];
  return [left, top, Math.max(1, Math.ceil(Math.max(x1, x2)) - left), Math.max(1, Math.ceil(Math.max(y1, y2)) - top)];
}

/** A colour of CSS as bytes. */
function channels(colour) {
  const pen = (channels.canvas ??= el("canvas", { width: 1, height: 1 })).getContext("2d", {
    willReadFrequently: true,
  });
  pen.clearRect(0, 0, 1, 1);
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  return pen.getImageData(0, 0, 1, 1).data;
}

const rgba = ([red, green, blue, alpha]) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
