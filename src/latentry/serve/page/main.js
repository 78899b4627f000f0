// The page: its sections, the token, and what holds its parts together.

import * as api from "./api.js";
import { Create } from "./create.js";
import { button, el, say } from "./dom.js";
import { Gallery, Recent } from "./gallery.js";
import * as jobs from "./jobs.js";
import { PictureDialog } from "./picture.js";
import { Queue } from "./queue.js";
import { show as showRuns } from "./runs.js";
import { ofFile } from "./settings.js";
import { Stage } from "./stage.js";

const SECTIONS = ["create", "gallery", "training"];
const NARROW = matchMedia("(max-width: 55rem)");
const place = (id) => document.getElementById(id);

function go(name) {
  if (location.hash === `#${name}`) turn();
  else location.hash = name;
}

/** Show the section that the address names. */
function turn() {
  const name = SECTIONS.find((one) => location.hash === `#${one}`) ?? SECTIONS[0];
  for (const one of SECTIONS) {
    place(one).hidden = one !== name;
    const link = document.querySelector(`nav a[href="#${one}"]`);
    if (one === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${name.replace(/^./, (letter) => letter.toUpperCase())} · latentry`;
  if (name === "training" && !turn.shown) {
    turn.shown = true;
    showRuns(place("training"));
  }
}

function askForToken(refused) {
  const dialog = place("token");
  const input = el("input", { type: "password", id: "token-input", autocomplete: "off", required: true });
  const form = el(
    "form",
    { method: "dialog" },
    el("h2", { id: "token-title" }, "This server asks for a token"),
    el(
      "p",
      { class: "hint" },
      refused
        ? "The token was not accepted."
        : "It is the one that the server was started with. It is kept until this tab is closed.",
    ),
    el("label", { htmlFor: input.id }, "Token"),
    input,
    el("div", { class: "row" }, el("button", { type: "submit", class: "go" }, "Continue")),
  );
  form.addEventListener("submit", () => api.useToken(input.value));
  dialog.onclose = () => dialog.replaceChildren();
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
}

/** Files that are dropped or pasted anywhere: settings if they tell them, else a picture to begin from. */
async function received(files, create) {
  const file = files[0];
  if (!file) return;
  go("create");
  const settings = await ofFile(file).catch(() => null);
  if (!settings) {
    if (create.picker && create.form.contains(create.picker.element)) return create.picker.take(files);
    return say(`${file.name} says nothing of how it was made. To begin from it, choose a task such as Vary.`);
  }
  return restored(await create.restore(settings), file.name);
}

function restored(lost, name) {
  const all = lost.length ? ` But not: ${lost.slice(0, 8).join(", ").slice(0, 200)}.` : "";
  say(`The settings of ${name} are restored.${all}`);
}

function listenForFiles(create) {
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    received([...event.dataTransfer.files], create);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      received(files, create);
    }
  });
}

async function filesOf(inputs = {}) {
  const entries = Object.entries(inputs).map(async ([name, paths]) => {
    const blobs = await Promise.all(paths.map((path) => api.blob(path)));
    return [name, blobs.map((data, index) => new File([data], `${name}-${index + 1}`))];
  });
  return Object.fromEntries(await Promise.all(entries));
}

function assemble(models, schemas) {
  const dialog = new PictureDialog({
    tasks: (name) => models.find(({ id }) => id === name)?.tasks ?? [],
    use: async (settings) => {
      go("create");
      restored(await create.restore({ ...settings, inputs: await filesOf(settings.inputs) }), "the picture");
      create.sender.focus();
    },
    begin: (model, task, file) => {
      go("create");
      create.build(
        models.find(({ id }) => id === model),
        task,
      );
      return create.use(task, file);
    },
  });
  const open = (ones, at) => dialog.open(ones, at);
  const stage = new Stage(place("stage"), open);
  const watch = (job) => {
    stage.watch(job);
    if (NARROW.matches) place("stage").scrollIntoView({ behavior: "smooth", block: "start" });
  };
  const create = models.length ? new Create(place("form"), models, schemas, watch) : null;
  if (!create) place("form").replaceChildren(el("p", { class: "none" }, "No model is served yet."));
  jobs.listen((all) => {
    const busy = all.filter((job) => !jobs.ended(job));
    place("busy").textContent = busy.length || "";
    if (stage.id === null && all.length) stage.watch(busy.at(-1) ?? all.find(({ images }) => images.length) ?? all[0]);
    if (stage.id !== null && !jobs.find(stage.id) && !stage.bar) stage.clear();
  });
  new Queue(place("queue"), watch);
  new Gallery(place("gallery"), open);
  new Recent(place("recent"), open, () => stage.id);
  if (create) listenForFiles(create);
}

async function start() {
  addEventListener("hashchange", turn);
  api.onTokenNeeded(askForToken);
  turn();
  try {
    const [models, openapi] = await Promise.all([api.get("/v1/models"), api.get("/openapi.json")]);
    assemble(
      models.data.filter(({ tasks }) => tasks.length),
      openapi.components.schemas,
    );
    await jobs.refresh();
  } catch (error) {
    place("form").replaceChildren(
      el("p", { class: "problem", role: "alert" }, error.message),
      button("Try again", () => location.reload()),
    );
  }
}

addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof api.ApiError)) return;
  event.preventDefault();
  say(event.reason.message);
});

start();
