// Controls of a form, made of what OpenAPI tells of an option. Each has `get` (undefined: not said) and `set`.
//
// `set` is also given what a dropped file says: it takes what fits the option, and says whether that was so.

import { el, fresh, labelled } from "./dom.js";

const LONGEST = 10_000;
const NAMES = {
  n: "Pictures",
  text: "Prompt",
  to: "Change it to",
  label: "Class",
  file: "Picture",
  images: "Pictures",
};

export const nameOf = (name) =>
  NAMES[name] ?? name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());

/** A control from its element: what is in it is sent as it is. */
function control(name, element, input, more) {
  return {
    name,
    element,
    get: () => (input.value === "" ? undefined : input.value),
    set: (value) => typeof value === "string" && value.length <= LONGEST && setValue(input, value),
    clear: () => (input.value = input.defaultValue ?? ""),
    focus: () => input.focus(),
    input,
    ...more,
  };
}

function setValue(input, value) {
  input.value = value;
  return input.value === value;
}

export function textControl(name, { label = nameOf(name), hint, rows = 1, placeholder, known } = {}) {
  const input =
    rows > 1
      ? el("textarea", { rows, placeholder, maxLength: LONGEST })
      : el("input", { type: "text", placeholder, maxLength: LONGEST });
  input.autocomplete = "off";
  const element = labelled(label, input, hint);
  if (known) {
    const list = el(
      "datalist",
      { id: fresh("known") },
      known.map((one) => el("option", { value: one })),
    );
    input.setAttribute("list", list.id);
    element.append(list);
  }
  return control(name, element, input);
}

export function numberControl(
  name,
  { label = nameOf(name), hint, min, max, whole = true, value, placeholder, step } = {},
) {
  const input = el("input", {
    type: "number",
    min,
    max,
    step: step ?? (whole ? 1 : "any"),
    defaultValue: value ?? "",
    placeholder,
    inputMode: whole ? "numeric" : "decimal",
  });
  const fits = (given) =>
    typeof given === "number" &&
    (whole ? Number.isSafeInteger(given) : Number.isFinite(given)) &&
    given >= (min ?? -Infinity) &&
    given <= (max ?? Infinity);
  return control(name, labelled(label, input, hint), input, {
    get: () => (input.value === "" ? undefined : Number(input.value)),
    set: (given) => fits(asNumber(given)) && setValue(input, String(given)),
  });
}

/** A number, also as the text that a form makes of it. */
const asNumber = (given) =>
  typeof given === "string" && /^-?\d+(\.\d+)?(e-?\d+)?$/.test(given) ? Number(given) : given;

export function rangeControl(name, { label = nameOf(name), hint, min, max, step, value }) {
  const input = el("input", { type: "range", min, max, step, value, defaultValue: value });
  const told = el("output", {}, value);
  const show = () => (told.textContent = input.value);
  input.addEventListener("input", show);
  const element = labelled(label, input, hint);
  element.querySelector("label").append(" ", told);
  const set = (given) => {
    if (typeof asNumber(given) !== "number" || !(given >= min && given <= max)) return false;
    input.value = given;
    show();
    return true;
  };
  return control(name, element, input, {
    get: () => Number(input.value),
    set,
    clear: () => set(Number(input.defaultValue)),
  });
}

/** ones: [[value, name], ...]; `value` is what is meant where nothing is said. */
export function selectControl(name, ones, { label = nameOf(name), hint, value = "" } = {}) {
  const select = el(
    "select",
    {},
    ones.map(([one, said]) => el("option", { value: one, defaultSelected: one === value }, said)),
  );
  const get = () => (select.value === value ? undefined : select.value);
  const set = (given) => ones.some(([one]) => one === String(given)) && setValue(select, String(given));
  return control(name, labelled(label, select, hint), select, { get, set, clear: () => (select.value = value) });
}

function flagControl(name, { hint, unset, value }) {
  const said = unset ? [["", "The model's"]] : [];
  const control = selectControl(name, [...said, ["true", "Yes"], ["false", "No"]], {
    hint,
    value: unset ? "" : String(value),
  });
  const get = () => (control.get() === undefined ? undefined : control.input.value === "true");
  return { ...control, get, set: (given) => ["true", "false"].includes(String(given)) && control.set(given) };
}

/** Several words or numbers, with commas between them. */
function listControl(name, { hint, most, numbers }) {
  const made = textControl(name, { hint, placeholder: "…, …" });
  const get = () => {
    const parts = made.input.value
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean);
    return parts.length ? parts : undefined;
  };
  const set = (given) =>
    Array.isArray(given) &&
    given.length <= (most ?? 64) &&
    given.every(
      (one) => typeof (numbers ? asNumber(one) : one) === (numbers ? "number" : "string") && !String(one).includes(","),
    ) &&
    setValue(made.input, given.join(", "));
  return { ...made, get, set };
}

/** Two texts, each with a field of its own; both are given, or none. */
function twoControl(name, { names }) {
  const two = ["first", "second"].map((which) =>
    textControl(which, { label: `${nameOf(name)}: ${which}`, known: names }),
  );
  const element = el(
    "div",
    { class: "two" },
    two.map((one) => one.element),
  );
  const get = () => {
    const values = two.map((one) => one.get()).filter((value) => value !== undefined);
    return values.length ? values : undefined;
  };
  const set = (given) => Array.isArray(given) && given.length === 2 && given.every((one, at) => two[at].set(one));
  return { name, element, get, set, clear: () => two.forEach((one) => one.clear()), input: two[0].input };
}

function fileControl(name, { hint, several }) {
  const input = el("input", { type: "file", multiple: several });
  const get = () => (input.files.length ? (several ? [...input.files] : input.files[0]) : undefined);
  return control(name, labelled(nameOf(name), input, hint), input, {
    get,
    set: () => false,
    clear: () => (input.value = ""),
  });
}

/** The control of one option. own: the model's value of it. models: names of those that are served. */
export function controlOf(name, schema, { own, models, names }) {
  const ways = [schema, ...(schema.anyOf ?? [])];
  const find = (fits) => ways.find(fits);
  const hint = said(schema.description);
  const unset = ways.some((way) => way.type === "null");
  const number = find((way) => way.type === "integer" || way.type === "number");
  const array = find((way) => way.type === "array");
  const isFile = (way) => way?.format === "byte" || way?.items?.format === "byte";
  if (ways.some(isFile)) return fileControl(name, { hint, several: Boolean(array) });
  if (name === "autoguide" || name === "classifier")
    return selectControl(name, [["", "None"], ...models.map((one) => [one, one])], { hint });
  if (find((way) => way.enum))
    return selectControl(
      name,
      find((way) => way.enum).enum.map((one) => [one, one]),
      { hint, value: schema.default },
    );
  if (find((way) => way.type === "boolean")) return flagControl(name, { hint, unset, value: schema.default });
  if (array?.prefixItems) return pairControl(name, { hint, placeholder: own?.join(", ") });
  if (array?.maxItems === 2) return twoControl(name, { names });
  if (array) return listControl(name, { hint, most: array.maxLength, numbers: name === "seeds" });
  if (number) {
    const placeholder = own ?? schema.default ?? "";
    const { minimum: min = number.exclusiveMinimum, maximum: max } = number;
    return numberControl(name, {
      hint,
      min,
      max: max < 1e9 ? max : undefined,
      whole: number.type === "integer",
      placeholder: String(placeholder),
    });
  }
  if (find((way) => way.type === "string" || way.additionalProperties)) {
    return textControl(name, { hint, placeholder: typeof own === "object" ? own?.kind : own, known: schema.examples });
  }
  return null;
}

function pairControl(name, { hint, placeholder }) {
  const made = textControl(name, { hint, placeholder });
  const set = (given) =>
    Array.isArray(given) &&
    given.length === 2 &&
    given.every(Number.isFinite) &&
    setValue(made.input, given.join(", "));
  return { ...made, set: (given) => set(given) || (/^[\d., ]+$/.test(given) && made.set(given)) };
}

/** What an option says of itself, without what its placeholder says. */
function said(description = "") {
  const plain = description
    .replace(/;? ?default: [^.;]*/i, "")
    .replace(/ \(docs\/[^)]*\)/, "")
    .replace(/ As base64\.$/, "");
  return plain.replace(/\.+$/, ".") || undefined;
}
