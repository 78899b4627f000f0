// A canvas to draw on, with a pointer or with arrow keys: it tells where in the image things happen, and shows layers.

import { el, fresh } from "../dom.js";

const SHARP = 640; // pixels that the longer side of a small image is shown with
const HELP = "Arrow keys move the cursor, Shift for larger steps. Space begins and ends a stroke. Escape drops it.";

/** Colours of classes, told apart at any number of them; 0 is faint, for it is what is behind. */
export function colourOf(number, alpha = 1) {
  if (number === 0) return `hsl(220 12% 62% / ${alpha * 0.35})`;
  return `hsl(${(number * 137.5 + 190) % 360} 68% ${number % 2 ? 52 : 64}% / ${alpha})`;
}

export class Board {
  /** hands: begin(at), move(at), end(), drop(), with `at` in pixels of the image. paint(pen, board): what is shown. */
  constructor({ width, height, name, hands, paint }) {
    Object.assign(this, { width, height, hands, paint });
    this.scale = Math.max(1, Math.floor(SHARP / Math.max(width, height)));
    const help = el("p", { class: "unseen", id: fresh("help") }, HELP);
    this.canvas = el("canvas", {
      width: width * this.scale,
      height: height * this.scale,
      tabIndex: 0,
      role: "application",
      "aria-label": name,
      "aria-describedby": help.id,
    });
    this.canvas.style.aspectRatio = `${width} / ${height}`;
    this.element = el("div", { class: "board" }, this.canvas, help);
    this.cursor = null;
    this.down = false;
    this.picture = null;
    this.listen();
    this.draw();
  }

  setPicture(picture) {
    this.picture = picture;
    this.draw();
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const pen = this.canvas.getContext("2d");
      pen.imageSmoothingEnabled = false;
      pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
      if (this.picture) pen.drawImage(this.picture, 0, 0, this.canvas.width, this.canvas.height);
      this.paint(pen, this);
      if (this.cursor) this.drawCursor(pen);
    });
  }

  drawCursor(pen) {
    const [x, y] = this.cursor.map((value) => value * this.scale);
    for (const [colour, width] of [
      ["#000", 4],
      ["#fff", 2],
    ]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      pen.moveTo(x - 12, y);
      pen.lineTo(x + 12, y);
      pen.moveTo(x, y - 12);
      pen.lineTo(x, y + 12);
      pen.stroke();
    }
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.width,
      ((event.clientY - box.top) / box.height) * this.height,
    ];
  }

  begin(at) {
    this.down = true;
    this.hands.begin(at);
    this.draw();
  }

  move(at) {
    if (this.down) this.hands.move(at);
    this.draw();
  }

  /** kept: whether the stroke stays. */
  end(kept) {
    if (!this.down) return;
    this.down = false;
    if (kept) this.hands.end();
    else this.hands.drop();
    this.draw();
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.down) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      this.cursor = null;
      this.begin(this.at(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.cursor) for (const one of event.getCoalescedEvents?.() ?? [event]) this.move(this.at(one));
    });
    canvas.addEventListener("pointerup", () => this.end(true));
    canvas.addEventListener("pointercancel", () => this.end(false));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      if (this.cursor) this.end(false);
      this.cursor = null;
      this.draw();
    });
  }

  /** The middle of the pixel in the middle. */
  get middle() {
    return [Math.floor(this.width / 2) + 0.5, Math.floor(this.height / 2) + 0.5];
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape" && this.down) this.end(false);
    else if (event.key === " " || event.key === "Enter") {
      this.cursor ??= this.middle;
      if (this.down) this.end(true);
      else this.begin(this.cursor);
    } else if (steps) {
      const far = (event.shiftKey ? 8 : 1) * Math.max(1, Math.round(Math.max(this.width, this.height) / 128));
      const [x, y] = this.cursor ?? this.middle;
      this.cursor = [within(x + steps[0] * far, this.width), within(y + steps[1] * far, this.height)];
      this.move(this.cursor);
    } else return;
    event.preventDefault();
    this.draw();
  }
}

const within = (value, most) => Math.min(most - 0.5, Math.max(0.5, value));
