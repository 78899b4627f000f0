// The settings of a picture: of a job of this server, or of a file, which may come from anyone and say anything.

import { isPng, texts } from "./png.js";

const KEY = "latentry";
const LARGEST_FILE = 200_000_000;
const isTree = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const NOT_OURS = ["metadata", "background", "output_format", "output_compression"];

/** Of one picture of a job. */
export function ofJob(job, index) {
  const { size, ...fields } = job.options;
  const image = job.images[index];
  const seed = Number(image?.seed ?? fields.seed);
  return {
    task: job.task,
    model: { name: job.model },
    fields: {
      ...fields,
      ...sides(size),
      ...(Number.isSafeInteger(seed) ? { seed } : {}),
      ...(image && "n" in fields ? { n: 1 } : {}),
    },
    inputs: job.inputs,
  };
}

/** Of a PNG that latentry made; null for any other file. Nothing of it is taken for what it says it is. */
export async function ofFile(file) {
  if (file.size > LARGEST_FILE) return null;
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!isPng(bytes)) return null;
  let record;
  try {
    record = JSON.parse(texts(bytes).get(KEY) ?? "null");
  } catch {
    return null;
  }
  if (!isTree(record) || typeof record.task !== "string") return null;
  const place = whole(record.index) ?? 0;
  const fields = {};
  for (const [name, values] of Object.entries(isTree(record.conditions) ? record.conditions : {})) {
    if (Array.isArray(values) && values.length)
      fields[name] = values[Math.floor(place / (whole(record.n) || 1)) % values.length];
  }
  for (const [name, value] of Object.entries(isTree(record.options) ? record.options : {})) {
    if (value !== null && !NOT_OURS.includes(name) && !isDefault(name, value)) fields[name] = plain(name, value);
  }
  const first = whole(record.seed);
  if (first !== null) fields.seed = first + place;
  const { size, ...rest } = fields;
  const model = isTree(record.model) ? { name: record.model.source, hash: record.model.hash } : null;
  return { task: record.task, model, fields: { ...rest, ...sides(size) } };
}

const whole = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : null);

/** What every picture's record has, and says nothing. */
function isDefault(name, value) {
  return (
    name === "clip" ||
    name === "guide_scale" ||
    name === "guide_loss" ||
    (name === "reuse" && value === 1) ||
    (name === "guidance_rescale" && value === 0) ||
    (name === "guidance_interval" && String(value) === "0,1")
  );
}

/** {kind: "ddim", eta: 0} as it is typed, ddim:eta=0. */
function plain(name, value) {
  if (name !== "solver" || !isTree(value) || typeof value.kind !== "string") return value;
  const further = Object.entries(value).filter(
    ([key, one]) => key !== "kind" && ["number", "boolean"].includes(typeof one),
  );
  return value.kind + (further.length ? `:${further.map(([key, one]) => `${key}=${one}`).join(",")}` : "");
}

/** "HxW", a side, or [H, W] as width and height. */
function sides(size) {
  const both = typeof size === "string" ? size.split("x").map(Number) : Array.isArray(size) ? size : [size, size];
  return both.length === 2 && both.every((side) => Number.isSafeInteger(side) && side > 0)
    ? { height: both[0], width: both[1] }
    : {};
}
