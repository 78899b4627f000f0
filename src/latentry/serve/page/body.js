// What the form says as the API takes it, and boxes as files and jobs tell them.

const MOST_BOXES = 1000;

/** JSON, or a form where there are files. fields: by name; files: [name, file]; size: the model's (height, width). */
export function asBody({ width, height, ...fields }, files, size) {
  if (width !== undefined || height !== undefined) fields.size = [height ?? size[0], width ?? size[1]];
  if (!files.length) return fields;
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  for (const [name, file] of files) form.append(name, file, file.name ?? `${name}.png`);
  return form;
}

const listIn = (value) => (Array.isArray(value) ? value : value?.boxes);

const isBox = (box) =>
  ["string", "number"].includes(typeof box?.label) &&
  Array.isArray(box.bbox) &&
  box.bbox.length === 4 &&
  box.bbox.every(Number.isFinite);

/** Whether this is a layout: a list of boxes, or {boxes, width, height}. */
export function areBoxes(value) {
  const list = listIn(value);
  return Array.isArray(list) && list.length <= MOST_BOXES && list.every(isBox);
}

/** The boxes of a layout in pixels of a board. All below 1 are shares. */
export function boxesIn(value, { width, height }) {
  const list = listIn(value);
  const shares = list.every(({ bbox }) => bbox.every((side) => side <= 1));
  const [across, down] = shares ? [width, height] : [width / (value.width || width), height / (value.height || height)];
  const scaled = (side, at) => Math.round(side * (at % 2 ? down : across) * 100) / 100;
  return list.map(({ label, bbox }) => ({ label, bbox: bbox.map(scaled) }));
}
