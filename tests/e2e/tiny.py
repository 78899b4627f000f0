"""A whole experiment that takes seconds: shapes of 16x16, small networks, every part of both stages on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentry import config
from latentry.data import shapes
from latentry.training.loop.log import WALL_CLOCK
from latentry.training.run import Run, train

IMAGES, SIZE = 40, 16
STAGES = ("autoencoder", "diffusion")


def recipe(kind: str = "kl", steps: int = 24, save_every: int = 5) -> dict[str, Any]:
    """Both stages with EMA, accumulation, dropout, clipping, warm-up; a discriminator from step 3; two conditioners.

    Saving falls on other steps than logging and looking, on purpose.
    """
    train = {
        "steps": steps,
        "batch": 4,
        "accumulate": 2,
        "lr": 2e-3,
        "warmup": 3,
        "clip": 1.0,
        "ema": 0.99,
        "precision": "fp32",
        "log_every": 3,
        "validate_every": 6,
        "sample_every": 9,
        "save_every": save_every,
        "keep": 2,
    }
    discriminator = {"start": 3, "channels": 4, "layers": 1}
    objective = {"perceptual": "none", "learn_log_variance": True, "discriminator": discriminator}
    unet = {"channels": 8, "multipliers": [1, 2], "blocks": 1, "attention": [2], "head_channels": 8, "norm_groups": 4}
    return {
        "name": "tiny",
        "seed": 7,
        "data": {"size": SIZE, "text": "text", "label": "label", "flip": True, "held_out": 0.2},
        "autoencoder": {
            "kind": kind,
            "z_channels": 2,
            "codes": 16,
            "channels": 4,
            "multipliers": [1, 2],
            "blocks": 1,
            "norm_groups": 2,
            "middle_attention": False,
            "dropout": 0.1,
            "objective": objective,
            "train": train,
        },
        "diffusion": {
            "schedule": {"kind": "linear", "steps": 20},
            "unet": {**unet, "transformer_depth": 1, "dropout": 0.1},
            "conditioning": {
                "text": {"kind": "text", "width": 8, "layers": 1, "heads": 2, "head_channels": 4, "length": 6},
                "label": {"kind": "class_label", "via": "vector"},
            },
            "objective": {"learn_log_variance": True},
            "train": {**train, "drop_condition": 0.2},
        },
        "sample": {"steps": 3},
    }


def write_recipe(path: Path, tree: Mapping[str, Any]) -> Path:
    """The recipe as a file."""
    path.write_text(config.dump_yaml(dict(tree)), encoding="utf-8")
    return path


def write_data(folder: Path) -> Path:
    """The images, with captions and labels."""
    shapes.write(folder, IMAGES, SIZE)
    return folder


def begin(stage: str, out: Path, unbroken: Path) -> Path:
    """A run in which `stage` is next: an empty one, or a finished first stage of which no model was written yet."""
    if stage == "diffusion":
        shutil.copytree(unbroken, out, ignore=shutil.ignore_patterns("diffusion*", "model", "latents", "figures.json"))
    return out


class Tiny:
    """A folder of images and a recipe of 12 steps a stage; what training said is in `said`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.recipe = write_recipe(folder / "tiny.yaml", recipe(steps=12))
        self.data = write_data(folder / "data")
        self.said: list[str] = []

    def train(self, out: Path, **changes: Any) -> Run:
        """Train, or go on; arguments as of `latentry.train`."""
        how: dict[str, Any] = {"data": self.data, "report": self.said.append, **changes}
        return train(str(self.recipe), out=out, **how)


def same(run: Path, other: Path, stages: Sequence[str] = STAGES) -> None:
    """Two runs are equal, bit for bit: weights, averages, optimisers, log, and the model, where there is one."""
    for stage in stages:
        assert checkpoint(run, stage) == checkpoint(other, stage), f"the {stage} differs"
        assert rows(run, stage) == rows(other, stage), f"the log of the {stage} differs"
    if "diffusion" in stages:
        assert model(run) == model(other), "the model differs"


def checkpoint(run: Path, stage: str) -> dict[str, bytes]:
    """Every file of a stage's newest checkpoint."""
    name = (run / stage / "latest").read_text().strip()
    return {f"{name}/{path.name}": path.read_bytes() for path in sorted((run / stage / name).iterdir())}


def model(run: Path) -> dict[str, bytes]:
    """Every file of the finished model but the card, which tells the minutes, and the manifest, which has its hash."""
    told = ("README.md", "manifest.json")
    return {path.name: path.read_bytes() for path in sorted((run / "model").iterdir()) if path.name not in told}


def rows(run: Path, stage: str | None = None) -> list[dict[str, Any]]:
    """The log without what a clock says."""
    found = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in found if stage in (None, row["stage"])]
