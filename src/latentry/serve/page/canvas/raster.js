// A number for each pixel, painted with discs and boxes, each stroke to be undone.

const MOST_STEPS = 100;

const around = (one, other) =>
  one
    ? {
        left: Math.min(one.left, other.left),
        top: Math.min(one.top, other.top),
        right: Math.max(one.right, other.right),
        bottom: Math.max(one.bottom, other.bottom),
      }
    : other;

export class Raster {
  constructor(width, height, value = 0) {
    this.width = width;
    this.height = height;
    this.values = new Uint8Array(width * height).fill(value);
    this.empty = value;
    this.done = [];
    this.undone = [];
    this.before = null;
    this.touched = null;
    this.dirty = { left: 0, top: 0, right: width, bottom: height }; // what changed since it was last shown
  }

  /** Begin a stroke: all until `end` is undone at once, all until `drop` was never there. */
  begin() {
    this.before = this.values.slice();
    this.touched = null;
  }

  end() {
    if (this.before && this.touched) {
      const { left, top, right, bottom } = this.touched;
      const area = [left, top, right - left, bottom - top];
      this.done.push({ area, before: this.cut(this.before, area), after: this.cut(this.values, area) });
      if (this.done.length > MOST_STEPS) this.done.shift();
      this.undone = [];
    }
    this.before = null;
  }

  drop() {
    if (this.before) this.values.set(this.before);
    if (this.touched) this.dirty = around(this.dirty, this.touched);
    this.before = null;
  }

  /** A disc of a diameter in pixels around a point; a diameter of 1 is the pixel under it. */
  disc(x, y, diameter, value) {
    const radius = diameter / 2;
    const [left, top] = [Math.max(0, Math.floor(x - radius)), Math.max(0, Math.floor(y - radius))];
    const [right, bottom] = [Math.min(this.width, Math.ceil(x + radius)), Math.min(this.height, Math.ceil(y + radius))];
    for (let row = top; row < bottom; row += 1) {
      for (let column = left; column < right; column += 1) {
        const near = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= radius * radius;
        const under = column === Math.floor(x) && row === Math.floor(y);
        if (near || under) this.values[row * this.width + column] = value;
      }
    }
    this.touch(left, top, right, bottom);
  }

  line(from, to, diameter, value) {
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const steps = Math.max(1, Math.ceil(length / Math.max(0.5, diameter / 4)));
    for (let step = 0; step <= steps; step += 1) {
      const share = step / steps;
      this.disc(from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share, diameter, value);
    }
  }

  box(x, y, width, height, value) {
    const [left, top] = [Math.max(0, x), Math.max(0, y)];
    const [right, bottom] = [Math.min(this.width, x + width), Math.min(this.height, y + height)];
    if (right <= left || bottom <= top) return;
    for (let row = top; row < bottom; row += 1) {
      this.values.fill(value, row * this.width + left, row * this.width + right);
    }
    this.touch(left, top, right, bottom);
  }

  /** Each value by a function of it. */
  map(change) {
    this.begin();
    this.values = this.values.map(change);
    this.touch(0, 0, this.width, this.height);
    this.end();
  }

  undo() {
    this.turn(this.done, this.undone, "before");
  }

  redo() {
    this.turn(this.undone, this.done, "after");
  }

  /** The share of pixels that are not as they were at first. */
  get share() {
    let painted = 0;
    for (const value of this.values) if (value !== this.empty) painted += 1;
    return painted / this.values.length;
  }

  turn(from, to, which) {
    const step = from.pop();
    if (!step) return;
    const [left, top, width, height] = step.area;
    for (let row = 0; row < height; row += 1) {
      this.values.set(step[which].subarray(row * width, (row + 1) * width), (top + row) * this.width + left);
    }
    this.touch(left, top, left + width, top + height);
    to.push(step);
  }

  cut(values, [left, top, width, height]) {
    const part = new Uint8Array(width * height);
    for (let row = 0; row < height; row += 1) {
      const start = (top + row) * this.width + left;
      part.set(values.subarray(start, start + width), row * width);
    }
    return part;
  }

  touch(left, top, right, bottom) {
    const area = { left, top, right, bottom };
    this.touched = around(this.touched, area);
    this.dirty = around(this.dirty, area);
  }
}
