"""Runs of a second: the smallest networks that have every part, two steps a stage, noise for images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from latentry import config
from latentry.data.files import saving
from latentry.training.run import Run, train

TRAIN = {"steps": 2, "batch": 2, "log_every": 1, "precision": "fp32"}
TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"size": 16},
    "autoencoder": {
        "channels": 8,
        "multipliers": [1, 2],
        "blocks": 1,
        "norm_groups": 4,
        "middle_attention": False,
        "objective": {"perceptual": "none"},
        "train": TRAIN,
    },
    "diffusion": {
        "unet": {
            "channels": 8,
            "multipliers": [1, 2],
            "blocks": 1,
            "attention": [2],
            "head_channels": 4,
            "norm_groups": 4,
        },
        "train": TRAIN,
    },
    "sample": {"steps": 2},
}
TEXT = {"kind": "text", "width": 8, "layers": 1, "heads": 2, "head_channels": 4, "length": 6, "vocabulary": 400}


def recipe(folder: Path, changes: Mapping[str, Any] | None = None) -> str:
    """The path of the tiny recipe with dotted changes, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(config.dump_yaml(config.override(TINY, changes or {})))
    return str(path)


def run_tiny(folder: Path, data: Path, changes: Mapping[str, Any] | None = None, **how: Any) -> Run:
    """Train the tiny recipe on `data` into `folder`/run."""
    how.setdefault("report", lambda _: None)
    return train(recipe(folder, changes), data, folder / "run", **how)


def noise(count: int, shape: Sequence[int], depth: int = 8, seed: int = 0) -> list[NDArray[Any]]:
    """Arrays (H, W, C) of every value that the depth has."""
    kind = np.uint8 if depth == 8 else np.uint16
    return list(np.random.default_rng(seed).integers(0, 2**depth, (count, *shape)).astype(kind))


def write_images(folder: Path, arrays: Sequence[NDArray[Any]], suffix: str = ".png") -> Path:
    """Files 0.png, 1.png, ... of arrays (H, W, C), written by other libraries than ours where they can."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, array in enumerate(arrays):
        path = folder / f"{number}{suffix}"
        if suffix == ".tif":
            tifffile.imwrite(path, array, photometric="minisblack", planarconfig="contig")
        elif array.dtype == np.uint8:
            Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(path)
        elif array.shape[2] == 1:
            Image.fromarray(array[..., 0]).save(path)
        else:
            saving.save(path, array / 65535, 16)
    return folder


def write_metadata(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """metadata.jsonl with one row for each file 0.png, 1.png, ..."""
    lines = [json.dumps({"file_name": f"{number}.png", **row}) for number, row in enumerate(rows)]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
