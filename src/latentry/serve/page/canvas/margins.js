// An image inside what it is to be continued to.

import { el } from "../dom.js";

/** controls: left, right, top, bottom; how many pixels are added there. */
export function marginsOf(bitmap, controls) {
  const canvas = el("canvas", { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  canvas.classList.toggle("pixels", Math.max(bitmap.width, bitmap.height) <= 256);
  const frame = el("div", { class: "margins", role: "img" }, canvas);
  const show = () => {
    const [left, right, top, bottom] = controls.map((control) => control.get() ?? 0);
    const [width, height] = [bitmap.width + left + right, bitmap.height + top + bottom];
    frame.style.aspectRatio = `${width} / ${height}`;
    Object.assign(canvas.style, {
      left: `${(left / width) * 100}%`,
      top: `${(top / height) * 100}%`,
      width: `${(bitmap.width / width) * 100}%`,
      height: `${(bitmap.height / height) * 100}%`,
    });
    frame.setAttribute("aria-label", `The result is ${width} × ${height} pixels`);
  };
  for (const { input } of controls) input.addEventListener("input", show);
  show();
  return frame;
}
