"""Write the oracle of the training equation: what both stages should compute, for inputs and weights that it fixes.

    python scripts/freeze_equation.py [--out FILE]

The numbers come from the published code's formulas (CompVis latent-diffusion), written again in numpy and float64;
nothing of this package and nothing of theirs is imported. The tests drive the real stages with the same inputs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import equation_autoencoder
import equation_diffusion
import numpy as np
from equation_tools import Array

TARGET = Path(__file__).parents[1] / "tests" / "reference" / "frozen" / "equation.json"
NAMES = {
    "train": ["image-0.png", "image-1.png", "image-2.png", "image-3.png"],
    "held_out": ["image-21.png", "image-24.png"],
}
"""Files of the data folder by the split that the hash of their name puts them in."""
LABELS = {"train": [2, 0, 1, 1], "held_out": [1, 0]}
BLOCK, BLOCKS = 4, 4


def pictures() -> dict[str, Array]:
    """Small images of 8 bits, (n, 3, 4, 4); each number is a block of 4x4 pixels."""
    random = np.random.RandomState(1)
    return {split: random.randint(0, 256, (len(names), 3, BLOCKS, BLOCKS)) for split, names in NAMES.items()}


def data() -> dict[str, tuple[Array, list[int]]]:
    """Images (n, 3, 16, 16) in [-1, 1] and labels of each split."""
    large = {split: pixels.repeat(BLOCK, axis=2).repeat(BLOCK, axis=3) for split, pixels in pictures().items()}
    return {split: (pixels / 127.5 - 1, LABELS[split]) for split, pixels in large.items()}


def content() -> dict[str, Any]:
    """Everything that is written."""
    first = equation_autoencoder.initial(99, "kl", equation_diffusion.CHANNELS)
    images = data()
    return {
        "data": {"names": NAMES, "labels": LABELS, "block": BLOCK, "pixels": pictures()},
        "autoencoder": first,
        "diffusion_cases": {
            name: equation_diffusion.frozen_case(name, number, first, images)
            for number, name in enumerate(equation_diffusion.CASES)
        },
        "autoencoder_cases": {
            name: equation_autoencoder.frozen_case(name, number + 10, images)
            for number, name in enumerate(equation_autoencoder.CASES)
        },
    }


def text_of(value: Any, indent: str = "") -> str:
    """JSON with a line for each list, and 12 digits of each number."""
    if isinstance(value, dict) and value:
        inner = indent + " "
        lines = [f"{inner}{json.dumps(key)}: {text_of(entry, inner)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return json.dumps(_rounded(value.tolist() if isinstance(value, np.ndarray) else value))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.12g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    out = parser.parse_args().out
    out.write_text(text_of(content()) + "\n", encoding="utf-8")
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
