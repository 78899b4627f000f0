// A board behind a fold: made once it is opened; closed, nothing of it is asked.

import { el } from "../dom.js";

/** make: the board; value: what is asked of it. kept: where boards stay, under `key`. */
export function foldOf({ name, label, make, value, kept, key }) {
  const fold = el("details", { class: "fold" }, el("summary", {}, label));
  const board = () => kept.get(key);
  const open = () => {
    if (!board()) kept.set(key, make());
    if (!fold.contains(board().element)) fold.append(board().element);
  };
  fold.addEventListener("toggle", () => fold.open && open());
  if (board()) {
    fold.append(board().element);
    fold.open = !board().isEmpty;
  }
  return {
    name,
    control: {
      name,
      element: fold,
      get: () => (fold.open && board() && !board().isEmpty ? value(board()) : undefined),
      set: () => false,
      clear: () => {},
    },
    show: () => {
      fold.open = true;
      open();
      return board();
    },
    /** The image has another size now. */
    renew: () => {
      const before = board();
      if (!before) return;
      kept.set(key, make());
      board().adopt(before);
      before.element.replaceWith(board().element);
    },
  };
}
