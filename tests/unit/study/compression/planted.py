"""Small compression studies: real ones of seconds, and such whose measurements are planted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latentry.study import FILE
from latentry.study.compression.making import plain
from latentry.study.compression.measuring import FOLDER, drawn_file, keep, reconstructed_file, sheet_file
from latentry.study.compression.options import CompressionOptions, Costs, Made, Part, Spent
from tests.e2e import small_runs

COSTS = {1: Costs(second=0.4, encode=0.0, draw=0.0), 2: Costs(first=0.1, second=0.2, encode=0.1, draw=0.0)}
"""Seconds that steps are said to take, so that every machine plans the same."""
CHANGES = {"data.held_out": 0.25, "autoencoder.objective.perceptual": "none"}
FEATURES = ("squeezenet:0820e…", "pyramid:c0c5f…")


def images(folder: Path, count: int = 100, side: int = 16) -> Path:
    """Squares of a colour on another, no two alike."""
    draw, arrays = np.random.default_rng(0), []
    for _ in range(count):
        array = np.full((side, side, 3), draw.integers(0, 256, 3), np.uint8)
        first, size = draw.integers(0, side // 2, 2), int(draw.integers(3, side // 2))
        array[first[0] : first[0] + size, first[1] : first[1] + size] = draw.integers(0, 256, 3)
        arrays.append(array)
    return small_runs.write_images(folder, arrays)


def options(root: Path, **changes: Any) -> CompressionOptions:
    """Of a study of f = 1 and 2: 12 steps of pixels; 15 of a first stage and 10 of latents; each measured twice."""
    recipe = small_runs.recipe(root, CHANGES)
    usual = {"data": images(root / "images"), "recipe": recipe, "factors": (1, 2), "budget": 10 / 60, "samples": 32}
    how = {"parameters": 60_000, "checkpoints": 2, "steps": (1, 2), "first_share": 0.3}
    return CompressionOptions.model_validate({**usual, **how, **changes})


def figure(name: str, value: float, interval: tuple[float, float] | None) -> dict[str, Any]:
    """One number of a measurement, as it is kept."""
    return {
        "name": name,
        "value": value,
        "images": 256,
        "reference": 2000,
        "interval": interval,
        "warning": "",
        "seed": 0,
    }


def planted(folder: Path, found: Mapping[int, Sequence[tuple[float, float]]], rate: float = 10.0) -> Path:
    """The folder of a finished study. found: by factor, (distance, half of its interval) of each checkpoint.

    A factor without any is not trained yet. Samples a second are `rate` times f, and halve with twice the steps.
    """
    checkpoints = max(map(len, found.values()))
    asked = CompressionOptions(factors=tuple(found), checkpoints=checkpoints, steps=(5, 10), recipe="shapes", seed=0)
    made = Made(
        made_with="latentry", options=asked, root=folder / "images", images=900, held_out=100, size=(64, 64),
        features=FEATURES, perceptual="none", training=600, measuring=60, parts=[_part(f, checkpoints) for f in found],
    )  # fmt: skip
    (folder / FOLDER).mkdir(parents=True)
    (folder / FILE).write_text(json.dumps(plain(made)))
    for factor, points in found.items():
        for number, (value, half) in enumerate(points, 1):
            steps = (10, 5) if number == checkpoints else (10,)
            for count in steps:
                interval = (value - half, value + half)
                figures = [figure(f"FD[{FEATURES[0]}]", -1.0, None), figure(f"KD[{FEATURES[0]}]", value, interval)]
                facts = {"samples_per_second": rate * factor * 10 / count, "figures": figures}
                keep(drawn_file(folder, factor, 100 * number, count), json.dumps(facts))
        if points:
            keep(sheet_file(folder, factor), a_picture())
            psnr = figure("PSNR of held-out reconstructions (dB)", 40.0 - factor, None)
            keep(reconstructed_file(folder, factor), json.dumps({"figures": [psnr]}))
    return folder


def a_picture() -> bytes:
    """A picture."""
    import io

    from PIL import Image

    written = io.BytesIO()
    Image.new("RGB", (64, 16), (200, 40, 40)).save(written, "PNG")
    return written.getvalue()


def _part(factor: int, checkpoints: int) -> Part:
    spent = Spent(
        first=0 if factor == 1 else 50, second=100 * checkpoints, second_every=100, save=100, cached=False, encoding=0
    )
    return Part(
        factor=factor,
        latent=(3, 64 // factor, 64 // factor),
        parameters=1_000_000,
        first_parameters=0 if factor == 1 else 250_000,
        costs=Costs(first=0.5, second=1.0, encode=0.2, draw=0.01),
        spent=spent,
    )
