"""Copy a model folder, matrices in half precision: python scripts/ship_model.py RUN/model TARGET [CARD [SHEET]]."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from latentry.checkpoints import model_folder


def main(source: Path, target: Path, card: Path | None = None, sheet: Path | None = None) -> None:
    """Scales, shifts and biases stay fp32; loading brings everything back to fp32.

    card: another README. sheet: the picture that it shows as samples.png.
    """
    model = model_folder.read(source)
    halved = {
        group: {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}
        for group, tensors in model.tensors.items()
    }
    text = card.read_text(encoding="utf-8") if card else model.card
    pictures = {"samples.png": sheet.read_bytes()} if sheet else {}
    model_folder.write(target, dataclasses.replace(model, tensors=halved, card=text, pictures=pictures))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
