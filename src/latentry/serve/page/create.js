// The form: a task, what it is asked, few controls first and the rest behind one fold.

import * as api from "./api.js";
import { areBoxes, asBody, boxesIn } from "./body.js";
import { Boxes } from "./canvas/boxes.js";
import { MapBrush, MaskBrush } from "./canvas/brush.js";
import { foldOf } from "./canvas/fold.js";
import { marginsOf } from "./canvas/margins.js";
import { controlOf, numberControl, rangeControl, selectControl, textControl } from "./controls.js";
import { button, choices, el, labelled, say } from "./dom.js";
import * as jobs from "./jobs.js";
import { Picker } from "./picker.js";
import { FILES, FIRST, ORDER, OWN, PREVIEWS, WORDS, capital, hintOf, inGroups, isTaken } from "./tasks.js";

const LARGEST_MAP = 4_194_304;

export class Create {
  /** models: of /v1/models. schemas: of OpenAPI. began: called with each job. */
  constructor(place, models, schemas, began) {
    Object.assign(this, {
      models,
      schemas,
      began,
      memory: new Map(),
      controls: [],
      pickers: new Map(),
      brush: null,
      boards: [],
      drawings: new Map(),
      brushes: new WeakMap(),
    });
    this.form = el("form", { noValidate: true, "aria-label": "What to draw" });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
    place.replaceChildren(this.form);
    this.build(models[0], "generate");
  }

  /** The controls of a task of a model. What was entered before stays, where it is asked for again. */
  build(model, task) {
    for (const control of this.controls)
      if (control.get && !(control.get() instanceof Promise)) this.memory.set(control.name, control.get());
    const able = ORDER.filter((name) => model.tasks.includes(name));
    Object.assign(this, { model, task: able.includes(task) ? task : able[0], controls: [], boards: [], brush: null });
    this.schema = this.schemas[`${capital(this.task)}Task`].properties;
    const parts = [
      this.modelChooser(),
      this.taskChooser(able),
      ...this.subject(),
      ...this.numbers(),
      this.sendRow(),
      this.rest(),
    ];
    this.form.replaceChildren(...parts.filter(Boolean));
    for (const control of this.controls) {
      const before = this.memory.get(control.name);
      if (before !== undefined) control.set(before);
    }
    this.picked();
  }

  /** Of all that was entered, as if the page were new; but for the picture that is chosen. */
  forget() {
    this.memory.clear();
    this.drawings.clear();
    this.controls = [];
  }

  add(control) {
    this.controls.push(control);
    return control.element;
  }

  modelChooser() {
    if (this.models.length < 2) return null;
    const select = el(
      "select",
      {},
      this.models.map(({ id }) => el("option", { value: id, selected: id === this.model.id }, id)),
    );
    select.addEventListener("change", () => {
      this.build(
        this.models.find(({ id }) => id === select.value),
        this.task,
      );
      this.form.querySelector("select").focus();
    });
    return labelled("Model", select);
  }

  taskChooser(able) {
    const group = choices(
      "Task",
      able.map((name) => [name, capital(name)]),
      this.task,
      (task) => {
        this.build(this.model, task);
        this.form.querySelector(`input[value="${task}"]`).focus();
      },
    );
    group.classList.add("tasks");
    group.append(el("p", { class: "hint" }, hintOf(this.task, this.model)));
    return group;
  }

  /** What the picture is made of: a picture, words, a class, and what is drawn by hand. */
  *subject() {
    const file = FILES[this.task];
    if (file) {
      yield this.picture(file);
      this.under = el("div", { class: "under" });
      yield this.under;
    }
    if (this.task === "vary")
      yield this.add(
        rangeControl("strength", {
          min: 0.05,
          max: 1,
          step: 0.05,
          value: 0.6,
          hint: "Low stays near the picture, high goes far.",
        }),
      );
    for (const [name, told] of Object.entries(this.model.takes)) {
      if (!["reconstruct", "interpolate"].includes(this.task)) yield* this.condition(name, told);
    }
    if (this.schema.to) yield this.add(textControl("to", { rows: 2 }));
    const first = (FIRST[this.task] ?? []).filter((name) => isTaken(name, this.model));
    if (first.length) yield this.group(first);
  }

  picture(name) {
    const several = name === "images";
    const key = several ? "several" : "one";
    const picker = this.pickers.get(key) ?? new Picker({ label: several ? "Pictures" : "Picture", several });
    picker.onchange = () => this.picked();
    this.pickers.set(key, picker);
    this.picker = picker;
    return this.add(picker.control(name));
  }

  *condition(name, told) {
    if (WORDS.includes(told.kind))
      yield this.add(textControl(name, { rows: 2, label: name === "text" ? "Prompt" : undefined }));
    if (told.kind === "class_label") yield this.add(this.classes(name, told));
    if (this.task !== "generate") return;
    if (told.kind === "layout")
      yield this.drawn(
        name,
        "Place objects",
        () => new Boxes(...this.size(), told),
        (board) => ({ boxes: board.value(), width: board.width, height: board.height }),
      );
    if (told.kind === "semantic" && told.classes <= 256)
      yield this.drawn(
        name,
        "Paint a map of classes",
        () => new MapBrush(...this.size(), told),
        (board) => board.file(),
      );
    if (told.kind === "embedding")
      yield this.add(controlOf(name, { format: "byte", description: this.schema.embedding?.description }, {}));
  }

  classes(name, { names, classes }) {
    if (!names.length)
      return numberControl(name, { min: 0, max: classes - 1, hint: `Numbers from 0 to ${classes - 1}.` });
    return names.length > 40
      ? textControl(name, { known: names })
      : selectControl(name, [["", "Any"], ...names.map((one) => [one, one])]);
  }

  /** A board behind a fold of its own. What was drawn stays while other tasks are looked at. */
  drawn(name, label, make, value) {
    const fold = foldOf({ name, label, make, value, kept: this.drawings, key: `${this.model.id} ${name}` });
    this.boards.push(fold);
    return this.add(fold.control);
  }

  size() {
    const [height, width] = this.model.size;
    const asked = (name, own) => Number(this.controls.find((control) => control.name === name)?.get?.() ?? own);
    const sides = [asked("width", width), asked("height", height)];
    return sides[0] * sides[1] > LARGEST_MAP || !sides.every((side) => side >= 1) ? [width, height] : sides;
  }

  numbers() {
    if (this.task === "reconstruct") return [];
    const parts = [];
    if (this.task !== "interpolate") parts.push(this.add(numberControl("n", { min: 1, max: 64, value: "1" })));
    parts.push(this.add(numberControl("seed", { min: 0, placeholder: "Random" })));
    if (this.task === "generate" || this.task === "interpolate") {
      const [height, width] = this.model.size;
      for (const [name, own] of [
        ["width", width],
        ["height", height],
      ]) {
        const control = numberControl(name, {
          min: this.model.multiple,
          max: 4096,
          step: this.model.multiple,
          placeholder: String(own),
        });
        control.input.addEventListener("change", () => this.boards.forEach((board) => board.renew()));
        parts.push(this.add(control));
      }
    }
    return [el("div", { class: "four numbers-first" }, parts)];
  }

  sendRow() {
    this.problem = el("p", { class: "problem", role: "alert" });
    this.sender = el("button", { type: "submit", class: "go" }, capital(this.task));
    return el("div", { class: "send" }, this.sender, this.problem);
  }

  /** All else that the task can be told. */
  rest() {
    const shown = [...OWN, ...(FIRST[this.task] ?? []), ...this.controls.map(({ name }) => name)];
    const names = Object.keys(this.schema).filter((name) => !shown.includes(name));
    const reset = button(
      "Reset all",
      () => {
        this.forget();
        this.build(this.model, this.task);
      },
      { class: "small" },
    );
    const parts = inGroups(names).map(([name, members]) => this.group(members, name));
    return (this.more = el(
      "details",
      { class: "fold more", open: this.more?.open ?? false },
      el("summary", {}, "More settings"),
      parts,
      reset,
    ));
  }

  group(names, heading) {
    const models = this.models.map(({ id }) => id);
    const made = names.map((name) =>
      controlOf(name, this.schema[name], {
        own: this.model.sample?.[name],
        models,
        names: name === "labels" ? this.model.labels : undefined,
      }),
    );
    return el(
      "div",
      { class: "group" },
      heading ? el("h3", {}, heading) : null,
      made.filter(Boolean).map((control) => this.add(control)),
    );
  }

  /** Another picture was chosen: what is drawn over it begins anew. */
  picked() {
    if (!this.under) return;
    this.brush = null;
    const bitmap = this.picker?.bitmap;
    this.controls = this.controls.filter(({ name }) => name !== "mask" && name !== "box");
    if (!FILES[this.task] || !this.picker.files.length) this.under.replaceChildren();
    else if (this.task === "inpaint" && bitmap) this.mask(bitmap);
    else if (this.task === "inpaint") this.under.replaceChildren(this.add(controlOf("box", this.schema.box, {})));
    else if (this.task === "outpaint" && bitmap) this.margins(bitmap);
    else this.under.replaceChildren();
  }

  mask(bitmap) {
    this.brush = this.brushes.get(bitmap) ?? new MaskBrush(bitmap.width, bitmap.height);
    this.brushes.set(bitmap, this.brush);
    this.brush.board.setPicture(bitmap);
    this.under.replaceChildren(this.brush.element);
    const brush = this.brush;
    this.controls.push({
      name: "mask",
      get: () => (brush.isEmpty ? undefined : brush.file()),
      set: () => false,
      clear: () => {},
    });
  }

  margins(bitmap) {
    const controls = FIRST.outpaint.map((side) => this.controls.find(({ name }) => name === side));
    this.under.replaceChildren(marginsOf(bitmap, controls));
  }

  /** What is asked, as a body of the API. */
  async body() {
    const fields = { task: this.task, model: this.model.id, previews: PREVIEWS };
    const files = [];
    for (const { name, get } of this.controls) {
      const value = await get();
      if (value instanceof Blob) files.push([name, value]);
      else if (Array.isArray(value) && value[0] instanceof Blob)
        files.push(...value.map((file) => [`${name}[]`, file]));
      else if (value !== undefined) fields[name] = value;
    }
    return asBody(fields, files, this.model.size);
  }

  async submit() {
    this.problem.textContent = "";
    const missing = this.missing();
    if (this.misses()) return;
    if (missing) {
      this.problem.textContent = missing;
      return;
    }
    this.sender.disabled = true;
    try {
      this.began(await jobs.begin(await this.body()));
      say("It is under way.", true);
    } catch (error) {
      if (!(error instanceof api.ApiError)) throw error;
      this.problem.textContent = error.message;
    } finally {
      this.sender.disabled = false;
    }
  }

  /** Whether a control holds what it does not take; it is then shown and says so. */
  misses() {
    const wrong = this.form.querySelector("input:invalid, select:invalid, textarea:invalid");
    for (let fold = wrong?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    return wrong !== null && !wrong.reportValidity();
  }

  missing() {
    if (FILES[this.task] && this.task !== "edit" && !this.picker.files.length) return "Choose a picture first.";
    if (this.task === "inpaint" && this.brush?.isEmpty) return "Paint over what is to be drawn anew.";
    return "";
  }

  /** Begin from a picture. */
  async use(task, file) {
    this.build(this.model, task);
    if (this.task !== task) return say(`${this.model.id} cannot ${task}.`);
    await this.picker.take([file]);
    this.form.scrollIntoView({ block: "start" });
    return this.picker.input.focus();
  }

  /** Settings from elsewhere, which may say anything. inputs: files by option. Gives what could not be taken. */
  async restore({ task, model, fields, inputs = {} }) {
    const chosen =
      this.models.find(({ id, hash }) => id === model?.name || (hash && hash === model?.hash)) ?? this.model;
    const lost = [];
    if (model && chosen.id !== model.name && chosen.hash !== model.hash) lost.push("the model");
    if (!ORDER.includes(task) || !chosen.tasks.includes(task)) return [`the task`];
    this.forget();
    this.build(chosen, task);
    for (const [name, value] of Object.entries(fields)) {
      const control = this.controls.find((one) => one.name === name);
      const taken = control?.set(value) || this.restoreBoxes(name, value);
      if (!taken) lost.push(name);
    }
    const file = FILES[this.task];
    if (file && inputs[file]) await this.picker.take(inputs[file]);
    if (inputs.mask && this.brush)
      this.brush.load(await createImageBitmap(inputs.mask[0]), (value) => (value > 127 ? 255 : 0));
    const map = this.boards.find(({ name }) => name !== "layout" && inputs[name]);
    if (map) map.show().load(await createImageBitmap(inputs[map.name][0]), (value) => value);
    return lost;
  }

  restoreBoxes(name, value) {
    const board = this.boards.find((one) => one.name === name);
    if (!board || !areBoxes(value)) return false;
    const shown = board.show();
    if (!(shown instanceof Boxes)) return false;
    shown.change(boxesIn(value, shown));
    return true;
  }
}
