// PNG files: the texts in them, the same file without them, and maps of grey as files.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const TEXTS = ["tEXt", "zTXt", "iTXt", "eXIf", "tIME"];
const MOST_TEXT = 1_000_000;

export const isPng = (bytes) => SIGNATURE.every((value, index) => bytes[index] === value);

/** Its parts as {name, start, end}: start and end of the whole part in the file. Ends where the file is damaged. */
function* parts(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let start = SIGNATURE.length;
  while (start + 12 <= bytes.length) {
    const end = start + 12 + view.getUint32(start);
    if (end > bytes.length) return;
    yield { name: String.fromCharCode(...bytes.subarray(start + 4, start + 8)), start, end };
    start = end;
  }
}

/** The texts of a PNG by their names; what is compressed or too long is left out. */
export function texts(bytes) {
  const found = new Map();
  if (!isPng(bytes)) return found;
  for (const { name, start, end } of parts(bytes)) {
    const data = bytes.subarray(start + 8, end - 4);
    const stop = data.indexOf(0);
    if (!TEXTS.includes(name) || stop < 1 || data.length > MOST_TEXT) continue;
    const key = new TextDecoder("latin1").decode(data.subarray(0, stop));
    if (name === "tEXt") found.set(key, new TextDecoder("latin1").decode(data.subarray(stop + 1)));
    if (name === "iTXt" && data[stop + 1] === 0) {
      const language = data.indexOf(0, stop + 3);
      const translated = data.indexOf(0, language + 1);
      if (language > 0 && translated > 0) found.set(key, new TextDecoder().decode(data.subarray(translated + 1)));
    }
  }
  return found;
}

/** The same picture without what is written into its file. */
export function withoutTexts(bytes) {
  const kept = [bytes.subarray(0, SIGNATURE.length)];
  for (const { name, start, end } of parts(bytes)) if (!TEXTS.includes(name)) kept.push(bytes.subarray(start, end));
  return new Blob(kept, { type: "image/png" });
}

const CRC = Uint32Array.from({ length: 256 }, (_, number) => {
  let value = number;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function part(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(
    Array.from(name, (letter) => letter.charCodeAt(0)),
    4,
  );
  bytes.set(data, 8);
  let crc = 0xffffffff;
  for (const value of bytes.subarray(4, 8 + data.length)) crc = CRC[(crc ^ value) & 255] ^ (crc >>> 8);
  view.setUint32(8 + data.length, (crc ^ 0xffffffff) >>> 0);
  return bytes;
}

/** Values of 0 to 255, row by row, as a grey PNG: a canvas would make colours of them. */
export async function greyPng(values, width, height) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 0, 0, 0, 0], 8);
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y += 1) rows.set(values.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const deflated = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(deflated).arrayBuffer());
  const all = [Uint8Array.from(SIGNATURE), part("IHDR", header), part("IDAT", data), part("IEND", new Uint8Array())];
  return new Blob(all, { type: "image/png" });
}
