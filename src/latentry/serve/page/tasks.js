// The tasks as the form knows them: which controls come first, and which belong together.

const HINTS = {
  generate: "",
  inpaint: "Paint over what is to be drawn anew.",
  outpaint: "A picture, continued beyond its sides.",
  vary: "A picture again, a little or very different.",
  upscale: "A picture, several times as large.",
  colorize: "A grey picture in colours.",
  edit: "Change some words, and only that of the picture.",
  interpolate: "From one picture to another, in steps.",
  reconstruct: "What the first stage keeps of a picture.",
};
export const ORDER = Object.keys(HINTS);
export const FILES = {
  inpaint: "file",
  outpaint: "file",
  vary: "file",
  colorize: "file",
  upscale: "images",
  reconstruct: "images",
  edit: "image",
};
export const FIRST = {
  outpaint: ["left", "right", "top", "bottom"],
  interpolate: ["seeds", "texts", "labels", "files", "frames"],
  upscale: [],
};
export const OWN = [
  "text",
  "label",
  "layout",
  "semantic",
  "embedding",
  "n",
  "seed",
  "size",
  "model",
  "mask",
  "box",
  "to",
  "image",
  "file",
  "images",
];
const SAID = {
  text: "words",
  clip_text: "words",
  class_label: "a class",
  layout: "objects you place",
  semantic: "a map you paint",
  embedding: "vectors",
};
export const WORDS = ["text", "clip_text"];
const GROUPS = {
  Sampling: null,
  Guidance: [
    "guidance",
    "guidance_interval",
    "guidance_rescale",
    "classifier_scale",
    "classifier",
    "autoguide",
    "guide",
    "guide_scale",
    "guide_loss",
  ],
  "Larger than in training": ["tile", "overlap"],
  File: ["output_format", "output_compression", "background", "metadata"],
};
const GROUPED = Object.values(GROUPS).flatMap((members) => members ?? []);
export const PREVIEWS = 6;

export const capital = (name) => name.replace(/^./, (letter) => letter.toUpperCase());

/** What a task does, in a line. */
export function hintOf(task, model) {
  if (HINTS[task]) return HINTS[task];
  const found = [...new Set(Object.values(model.takes).map(({ kind }) => SAID[kind]))].filter(Boolean);
  if (!found.length) return "A new picture.";
  return `From ${found.slice(0, -1).join(", ")}${found.length > 1 ? " or " : ""}${found.at(-1)}.`;
}

/** Whether an option of interpolation is for what the model takes. */
export function isTaken(name, model) {
  const kinds = Object.values(model.takes).map(({ kind }) => kind);
  if (name === "texts") return kinds.some((kind) => WORDS.includes(kind));
  return name !== "labels" || kinds.includes("class_label");
}

/** Names of options by the heading that they stand under; without empty ones. */
export function inGroups(names) {
  const groups = Object.entries(GROUPS).map(([heading, members]) => [
    heading,
    names.filter((name) => (members ? members.includes(name) : !GROUPED.includes(name))),
  ]);
  return groups.filter(([, members]) => members.length);
}
