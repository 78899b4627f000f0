// Training runs, as far as this server has any.

import { el } from "./dom.js";

export function show(section) {
  section.replaceChildren(
    el("h1", {}, "Training"),
    el("p", { class: "none" }, "This server was started without training runs."),
  );
}
