// All that was drawn and is kept, the newest first; and the last few of it.

import { button, el } from "./dom.js";
import * as jobs from "./jobs.js";
import { image, words } from "./picture.js";

const FEW = 6;

export class Gallery {
  /** open(ones, at): look at pictures closely. */
  constructor(place, open) {
    Object.assign(this, { place, open, tiles: new Map() });
    this.none = el("p", { class: "none" }, "Nothing is drawn yet.");
    this.grid = el("ul", { class: "tiles" });
    this.more = button("Show earlier ones", async () => (this.more.hidden = !(await jobs.earlier())));
    this.more.hidden = true;
    place.replaceChildren(el("h1", {}, "Gallery"), this.none, this.grid, el("div", { class: "row middle" }, this.more));
    let first = true;
    jobs.listen((all) => {
      if (first && all.length) {
        this.more.hidden = all.length < 60;
        first = false;
      }
      this.show(all);
    });
  }

  show(all) {
    const drawn = all.filter(({ images }) => images.length);
    this.ones = drawn.flatMap((job) => job.images.map((_, index) => [job, index]));
    const before = this.tiles;
    this.tiles = new Map(
      this.ones.map(([job, index]) => {
        const key = `${job.id} ${index}`;
        return [key, before.get(key) ?? this.tile(job, index, key)];
      }),
    );
    this.none.hidden = this.ones.length > 0;
    const elements = [...this.tiles.values()];
    const now = [...this.grid.children];
    if (elements.length !== now.length || elements.some((element, index) => element !== now[index]))
      this.grid.replaceChildren(...elements);
  }

  /** A picture with what it is of. */
  tile(job, index, key) {
    const told = job.images[index];
    const look = () => this.open(this.ones, [...this.tiles.keys()].indexOf(key));
    return el(
      "li",
      {},
      button(image(job, index), look, { class: "frame", "aria-haspopup": "dialog" }),
      el(
        "p",
        { class: "caption" },
        el("span", { class: "name" }, words(job, index)),
        told.seed === undefined ? null : el("span", { class: "hint" }, `seed ${told.seed}`),
      ),
    );
  }
}

/** The last pictures, but for those that are looked at. */
export class Recent {
  constructor(place, open, looked) {
    this.list = el("ul", { class: "recent" });
    place.replaceChildren(el("h2", {}, "Drawn before"), this.list);
    let shown = "";
    jobs.listen((all) => {
      const ones = all
        .filter(({ id }) => id !== looked())
        .flatMap((job) => job.images.map((_, index) => [job, index]))
        .slice(0, FEW);
      const now = ones.map(([{ id }, index]) => `${id} ${index}`).join();
      place.hidden = !ones.length;
      if (now === shown) return;
      shown = now;
      this.list.replaceChildren(
        ...ones.map(([job, index], at) =>
          el(
            "li",
            {},
            button(image(job, index), () => open(ones, at), { class: "frame", "aria-haspopup": "dialog" }),
          ),
        ),
      );
    });
  }
}
