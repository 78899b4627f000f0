// Training runs: a list, and of the one that is chosen its newest sheet of samples, curves, time left and warnings.
// Asks every few seconds while it can be seen, and draws again only what has changed.

import { get, showIn } from "./api.js";
import { button, duration, el, fresh, plural } from "./dom.js";

const EVERY = 3000; // ms
const STYLE = `
.runs { display: grid; gap: 1.5rem; margin-top: 1rem; }
.runs-problem:empty { display: none; }
.runs article { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); }
.runs article[hidden], .runs article > :empty { display: none; }
.runs article > * { margin: 0; }
.runs article p { margin: 0; }
.runs details { margin-top: 0.8rem; }
.runs summary { cursor: pointer; }
@media (min-width: 64rem) {
  .runs article { grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); column-gap: 2rem; }
  .runs article > :not(figure, .runs-drawn) { grid-column: 1 / -1; }
  .runs article > figure[hidden] + .runs-drawn { grid-column: 1 / -1; }
}
.runs ul { list-style: none; margin: 0; padding: 0; }
.runs-list { display: grid; gap: 0.6rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.runs-list button { width: 100%; height: 100%; text-align: left; display: grid; gap: 0.35rem; padding: 0.7rem 0.9rem;
  align-content: start; justify-content: stretch; }
.runs-list button[aria-pressed="true"] { outline: 2px solid var(--accent, currentColor); outline-offset: -1px; }
.runs-list button > * { font-weight: 400; }
.runs-list button > strong { font-weight: 650; overflow-wrap: anywhere; }
.runs progress { width: 100%; accent-color: var(--accent, auto); }
.runs-warnings { border-left: 4px solid var(--alarm, currentColor); padding: 0.3rem 0.9rem; overflow-wrap: anywhere; }
.runs-sheet { max-width: 34rem; }
.runs-sheet img { width: 100%; image-rendering: pixelated; background: #fff; display: block; border-radius: 6px; }
.runs-sheet input { width: 100%; }
.runs-curves { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.runs-curves svg { width: 100%; height: auto; display: block; color: inherit; }
.runs-curves text { fill: currentColor; font-size: 12px; }
.runs-curves .title { font-size: 14px; font-weight: 600; }
.runs-curves .grid { stroke: currentColor; opacity: 0.18; }
.runs-curves .line { fill: none; stroke: var(--accent, currentColor); stroke-width: 2; stroke-linejoin: round; }
.runs-curves .line.second { stroke: currentColor; stroke-dasharray: 5 4; }
.runs table { border-collapse: collapse; }
.runs td, .runs th { text-align: left; padding: 0.15rem 1rem 0.15rem 0; overflow-wrap: anywhere; }
.runs td:last-child { text-align: right; font-variant-numeric: tabular-nums; }
`;
const STATES = { running: "running", ended: "finished", stopped: "stopped" };

/** Show the runs in a section, and keep them as they are now. May be called whenever the section comes into sight. */
export function show(section) {
  if (!section.runs) section.runs = new Watch(section);
  section.runs.ask();
}

/** Children made anew only where what they are made of has changed. */
function kept(place, from, make) {
  const now = JSON.stringify(from);
  if (place.madeOf === now) return false;
  place.madeOf = now;
  place.replaceChildren(...[make()].flat().filter(Boolean));
  return true;
}

class Watch {
  constructor(section) {
    this.section = section;
    this.chosen = null;
    this.seen = null;
    this.cards = new Map();
    this.problem = el("p", { role: "status", class: "runs-problem" });
    this.list = el("ul", { class: "runs-list", "aria-label": "Training runs" });
    this.one = new Whole();
    const title = el("h1", {}, "Training");
    section.replaceChildren(el("style", {}, STYLE), title, el("div", { class: "runs" }, this.problem, this.list, this.one.place));
    document.addEventListener("visibilitychange", () => this.ask());
  }

  get visible() {
    return this.section.isConnected && !document.hidden && this.section.getClientRects().length > 0;
  }

  /** Look now, and again after a while as long as it can be seen. */
  async ask() {
    if (this.asking || !this.visible) return;
    this.asking = true;
    try {
      await this.look();
      kept(this.problem, "", () => "");
    } catch (error) {
      kept(this.problem, error.message, () => error.message);
    } finally {
      this.asking = false;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.again(), EVERY);
  }

  /** A section that is hidden and shown without a word is noticed, too; nothing is asked meanwhile. */
  again() {
    if (this.visible) return this.ask();
    if (this.section.isConnected) this.timer = setTimeout(() => this.again(), EVERY);
  }

  async look() {
    const runs = (await get("/v1/runs")).data;
    this.draw(runs);
    const run = runs.find((one) => one.id === this.chosen);
    if (!run) return this.one.clear();
    const revision = `${run.id} ${run.revision}`;
    if (revision !== this.seen) {
      const whole = await get(`/v1/runs/${encodeURIComponent(run.id)}`);
      if (this.chosen !== run.id) return;
      this.one.draw(whole);
      this.seen = revision;
    } else this.one.drawState(run);
  }

  draw(runs) {
    if (!runs.some((run) => run.id === this.chosen)) this.chosen = runs[0]?.id ?? null;
    for (const run of runs) if (!this.cards.has(run.id)) this.cards.set(run.id, this.card(run.id));
    const items = runs.map((run) => this.cards.get(run.id));
    if (items.some((item, place) => this.list.children[place] !== item) || this.list.children.length !== items.length)
      this.list.replaceChildren(...(items.length ? items : [nothing()]));
    for (const run of runs) {
      const [pressed] = this.cards.get(run.id).children;
      pressed.setAttribute("aria-pressed", String(run.id === this.chosen));
      kept(pressed, { ...run, revision: "", newest: {} }, () => summary(run));
    }
  }

  card(id) {
    const choose = () => {
      this.chosen = id;
      this.seen = null;
      for (const [name, item] of this.cards) item.firstChild.setAttribute("aria-pressed", String(name === id));
      this.asking = false;
      this.ask();
    };
    return el("li", {}, button("", choose));
  }
}

const nothing = () =>
  el("li", {}, "No training is here yet. ", el("code", {}, "latentry serve runs/"), " shows those in a folder.");

const summary = (run) => [
  el("strong", {}, run.id),
  el("span", {}, standing(run)),
  run.steps ? el("progress", { max: run.steps, value: run.step, "aria-label": `${run.stage} of ${run.id}` }) : null,
  run.warnings.length ? el("span", {}, `⚠ ${plural(run.warnings.length, "warning")}`) : null,
];

/** Where a training is, in one line. */
function standing(run) {
  const at = run.stage ? `${run.stage} ${whole(run.step)}${run.steps ? ` of ${whole(run.steps)}` : ""}` : "no step yet";
  const left = run.seconds_left === null ? "" : `, ${duration(run.seconds_left)} left`;
  const rate = run.state === "running" && run.images_per_second ? `, ${short(run.images_per_second)} images/s` : "";
  return `${STATES[run.state]}: ${at}${rate}${left}`;
}

/** All of one run. */
class Whole {
  constructor() {
    this.name = el("h2");
    this.state = el("p");
    this.stages = el("div");
    this.warnings = el("div");
    this.sheets = new Sheets();
    this.curves = el("div", { class: "runs-drawn" });
    this.rest = el("div");
    const parts = [this.name, this.state, this.stages, this.warnings, this.sheets.place, this.curves, this.rest];
    this.place = el("article", { hidden: true, "aria-label": "The chosen run" }, ...parts);
  }

  clear() {
    this.place.hidden = true;
  }

  draw(run) {
    this.place.hidden = false;
    kept(this.name, run.id, () => run.id);
    this.drawState(run);
    this.sheets.draw(run.id, run.grids);
    kept(this.curves, run.curves, () => curves(run.curves));
    kept(this.rest, [run.newest, run.evaluations, run.figures, run.events], () => [
      table("What it reached", Object.entries(run.figures), true),
      table("Newest numbers", Object.entries(run.newest)),
      table("Measured while it trained", run.evaluations.flatMap(measured).reverse()),
      table("What happened", run.events.map((one) => [one.text, `step ${whole(one.step)}`]).reverse()),
    ]);
  }

  drawState(run) {
    const behind = run.updated ? Math.max(0, Date.now() / 1000 - run.updated) : 0;
    const last = behind > 60 ? `; its last numbers are ${duration(behind)} old` : "";
    kept(this.state, [standing(run), last], () => standing(run) + last);
    const ahead = run.stages.map((one) => `${one.stage} ${whole(one.step)} of ${whole(one.steps)}`).join(", then ");
    kept(this.stages, ahead, () => (run.stages.length > 1 ? el("p", {}, `Stages: ${ahead}.`) : null));
    kept(this.warnings, run.warnings, () =>
      run.warnings.length
        ? el("div", { class: "runs-warnings" }, ...run.warnings.map((text) => el("p", {}, `⚠ ${text}`)))
        : null,
    );
  }
}

const measured = (look) =>
  Object.entries(look.values).map(([name, value]) => [`${look.stage} ${whole(look.step)}: ${spoken(name)}`, value]);

function table(title, rows, open = false) {
  if (!rows.length) return null;
  const cell = (value) => (typeof value === "number" ? short(value) : value);
  const lines = rows.map(([name, value]) => el("tr", {}, el("td", {}, spoken(name)), el("td", {}, cell(value))));
  return el("details", { open }, el("summary", {}, title), el("table", {}, el("tbody", {}, ...lines)));
}

/** The sheets of samples, the newest until another one is chosen. */
class Sheets {
  constructor() {
    this.run = null;
    this.grids = [];
    this.follows = true;
    this.image = el("img", { alt: "" });
    this.caption = el("figcaption");
    this.slider = el("input", { type: "range", min: 0, "aria-label": "Sheet of samples, by step" });
    this.slider.addEventListener("input", () => {
      this.follows = Number(this.slider.value) === this.grids.length - 1;
      this.drawImage();
    });
    this.place = el("figure", { class: "runs-sheet", hidden: true }, this.image, this.caption, this.slider);
  }

  draw(run, grids) {
    if (run !== this.run) this.follows = true;
    const before = this.grids[Number(this.slider.value)];
    this.run = run;
    this.grids = grids;
    this.place.hidden = grids.length === 0;
    this.slider.hidden = grids.length < 2;
    this.slider.max = String(Math.max(0, grids.length - 1));
    const same = grids.findIndex((one) => before && one.stage === before.stage && one.step === before.step);
    this.slider.value = String(this.follows || same < 0 ? grids.length - 1 : same);
    if (grids.length) this.drawImage();
  }

  drawImage() {
    const grid = this.grids[Number(this.slider.value)];
    const text = `${grid.stage}, step ${whole(grid.step)}`;
    this.slider.setAttribute("aria-valuetext", text);
    kept(this.caption, [text, this.follows], () => (this.follows ? `${text}, the newest` : text));
    if (this.url === grid.url) return;
    this.url = grid.url;
    this.image.alt = `Sheet of samples of ${text}`;
    showIn(this.image, grid.url).catch(() => (this.url = null)); // it is tried again
  }
}

/** Those that say most, and measured beside them, first; the rest behind a fold. */
function curves(all) {
  const charts = grouped(all.filter((one) => one.points.length > 1));
  const first = charts.filter((chart) => chart.first).map(drawn);
  const others = charts.filter((chart) => !chart.first);
  const more = () => el("div", { class: "runs-curves" }, ...others.map(drawn));
  const fold = el("details", {}, el("summary", {}, plural(others.length, "more curve")));
  fold.addEventListener("toggle", () => fold.open && fold.children.length === 1 && fold.append(more()));
  return [el("div", { class: "runs-curves" }, ...first), others.length ? fold : null];
}

/** A number on held-out images belongs beside the same on images of training. */
function grouped(all) {
  const charts = new Map();
  for (const { stage, name, main, points } of all) {
    const of = name.replace(/^(held_out|train)_/, "");
    const compared = of !== name;
    const title = `${stage}: ${spoken(of)}${compared ? ", measured" : ""}`;
    const chart = charts.get(title) ?? { title, first: false, lines: [] };
    chart.first ||= main || name.startsWith("held_out_");
    const label = compared ? (name.startsWith("train_") ? "training images" : "held-out images") : "";
    chart.lines.push({ label, points });
    charts.set(title, chart);
  }
  return [...charts.values()].sort((one, other) => one.lines.length - other.lines.length);
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [480, 260, 62, 14, 40, 40];

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A chart: lines over steps, with both axes, and what it shows as text. */
function drawn({ title, lines }) {
  const points = lines.flatMap((line) => line.points);
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const bounds = [Math.min(...ys), Math.max(...ys)];
  const logarithmic = bounds[0] > 0 && bounds[1] > 20 * bounds[0];
  const [x, xTicks] = scale(Math.min(...xs), Math.max(...xs), LEFT, WIDTH - RIGHT, false);
  const [y, yTicks] = scale(...bounds, HEIGHT - BOTTOM, TOP, logarithmic);
  const [heading, words] = [fresh("curve"), fresh("curve")];
  const place = { role: "img", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-labelledby": `${heading} ${words}` };
  return svg(
    "svg",
    place,
    svg("title", { id: heading }, title),
    svg("desc", { id: words }, lines.map(told).join(" ")),
    svg("text", { class: "title", x: 4, y: 16 }, title),
    ...legend(lines),
    ...yTicks.flatMap((tick) => [
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, short(tick)),
    ]),
    ...xTicks.map((tick) => svg("text", { x: x(tick), y: HEIGHT - BOTTOM + 16, "text-anchor": anchor(x(tick)) }, short(tick))),
    svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "step"),
    ...lines.map((line, place) =>
      svg("polyline", {
        class: place ? "line second" : "line",
        points: line.points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" "),
      }),
    ),
  );
}

/** The last number ends where its line does, so that it is not cut off. */
const anchor = (x) => (x > WIDTH - RIGHT - 12 ? "end" : "middle");

/** Which line is which, where there are several. */
const legend = (lines) =>
  lines.length < 2
    ? []
    : lines.flatMap(({ label }, place) => [
        svg("line", { class: place ? "line second" : "line", x1: LEFT + place * 170, x2: LEFT + 24 + place * 170, y1: 29, y2: 29 }),
        svg("text", { x: LEFT + 30 + place * 170, y: 33 }, label),
      ]);

function told({ label, points }) {
  const values = points.map(([, value]) => value);
  const [first, last] = [points[0], points[points.length - 1]];
  const which = label ? `${label}: ` : "";
  const range = `between ${short(Math.min(...values))} and ${short(Math.max(...values))}`;
  return `${which}from ${short(first[1])} at step ${whole(first[0])} to ${short(last[1])} at step ${whole(last[0])}, ${range}.`;
}

/** From a value to its place, and round values to be written beside the axis. */
function scale(low, high, from, to, logarithmic) {
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const on = logarithmic ? Math.log10 : (value) => value;
  const at = (value) => from + ((on(value) - on(low)) / (on(high) - on(low))) * (to - from);
  return [at, logarithmic ? decades(low, high) : round(low, high)];
}

function round(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((one) => one * power >= rough) ?? 10);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9); tick * step <= high + step * 1e-9; tick += 1) ticks.push(tick * step);
  return ticks;
}

function decades(low, high) {
  const ticks = [];
  const wide = high / low > 1e4;
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
    for (const one of wide ? [1] : [1, 3]) {
      const tick = one * 10 ** power;
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  return ticks;
}

const spoken = (name) => name.replaceAll("_", " ");
const whole = (number) => number.toLocaleString("en");

/** A number in few letters. */
function short(number) {
  const size = Math.abs(number);
  if (number === 0) return "0";
  if (size >= 1e6) return `${Number((number / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((number / 1e3).toPrecision(3))}k`;
  return size < 1e-3 ? number.toExponential(1) : String(Number(number.toPrecision(3)));
}
