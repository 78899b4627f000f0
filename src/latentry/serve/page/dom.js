// Elements, and what is told to those who hear the page.

/** An element. `attributes` are properties where it has them ("onclick", "value"), else attributes. Texts stay texts. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null) continue;
    if (key === "class") element.className = value;
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key in element && !key.startsWith("aria-") && key !== "list" && key !== "role") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

let count = 0;

/** A name that no other element has. */
export const fresh = (stem) => `${stem}-${(count += 1)}`;

/** A control under its label, with a line that explains it. */
export function labelled(label, control, hint) {
  control.id = control.id || fresh("control");
  const described = hint ? el("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
  if (described) control.setAttribute("aria-describedby", described.id);
  return el("div", { class: "field" }, el("label", { htmlFor: control.id }, label), control, described);
}

/** A group of radio buttons. ones: [value, name, mark]. */
export function choices(legend, ones, chosen, choose) {
  const group = fresh(legend);
  return el(
    "fieldset",
    { class: "choices" },
    el("legend", {}, legend),
    ones.map(([value, name, mark]) =>
      el(
        "label",
        { class: "chip" },
        el("input", { type: "radio", name: group, value, checked: value === chosen, onchange: () => choose(value) }),
        mark ?? null,
        name,
      ),
    ),
  );
}

export function button(label, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, label);
}

/** Say it to a screen reader; and for a while on the page, unless what happened is seen there. */
export function say(text, seen = false) {
  const place = document.getElementById("said");
  place.classList.toggle("unseen", seen);
  place.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (place.textContent = ""), 6000);
}

export const plural = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** Seconds as a person says them. */
export function duration(seconds) {
  if (seconds < 1) return "under a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
