"""A small experiment for every entry of CONDITIONERS: images with every field, and a recipe of two steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from latentry.checkpoints import model_folder
from latentry.data import shapes
from latentry.training.run import Run
from tests.e2e.small_runs import TEXT, TINY, run_tiny
from tests.reference.diffusers_models import FIRST_STAGE, config, model
from tests.unit.conditioning.small_clip import clip_text

DRAW = np.random.default_rng(0)
ATTEND = {"width": 8, "layers": 1, "heads": 2}
# By entry: the name of the condition, its options, and two values that differ.
CASES: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "class_label": ("label", {"via": "vector", "width": 8}, ["star", "circle"]),
    "text": ("text", TEXT, ["a red star", "a blue ring"]),
    "clip_text": ("text", {**ATTEND, "length": 12}, ["a red star", "a blue ring"]),
    "layout": (
        "layout",
        {**ATTEND, "head_channels": 4, "objects": 2, "vocabulary": 1025},
        [[{"label": "star", "bbox": [0, 0, 0.5, 1]}], [{"label": "ring", "bbox": [0.5, 0, 0.5, 0.5]}]],
    ),
    "semantic": (
        "semantic",
        {"classes": "auto", "channels": 2, "stages": 1, "unlabelled": 0},
        list(DRAW.integers(0, 7, (2, 16, 16))),
    ),
    "image": ("image", {"factor": 2, "degradation": "bsr_light"}, list(torch.rand(2, 3, 8, 8))),
    "masked": (
        "masked",
        {"latent_channels": 4},
        [(torch.zeros(3, 16, 16), torch.ones(1, 16, 16)), (torch.ones(3, 16, 16), -torch.ones(1, 16, 16))],
    ),
    "grey": ("grey", {"factor": 2}, list(torch.rand(2, 1, 16, 16))),
    "embedding": ("embedding", {"width": 3, "via": "vector", "hidden": 8}, list(DRAW.standard_normal((2, 3)))),
}
NAMED = ("text", "label", "layout", "semantic", "embedding")
"""Conditions that every task can be given; the others are what a task makes of its file."""
LEARNED = {"layout": {"pooled": "each"}, "semantic": {"rescale": "conv"}}
"""Options by which small models learn sooner than as published, for one more model."""
TOGETHER = [entry for entry in CASES if entry != "clip_text"]
MODELS: dict[str, list[str]] = {
    "none": [],
    **{entry: [entry] for entry in CASES},
    "together": TOGETHER,
    "learned": list(LEARNED),
}
"""By name of a model: the entries that it is trained with."""
DATA = {
    "size": 16,
    "text": "text",
    "label": "label",
    "boxes": "objects",
    "semantic": "semantic",
    "mask": "mask",
    "arrays": ["embedding"],
    "flip": True,
    "held_out": 0.25,
}


def conditioning(which: str) -> dict[str, Any]:
    """The section of the recipe of a model of `MODELS`."""
    further: dict[str, dict[str, Any]] = LEARNED if which == "learned" else {}
    return {CASES[entry][0]: {"kind": entry, **CASES[entry][1], **further.get(entry, {})} for entry in MODELS[which]}


def values(which: str, *, named: bool) -> dict[str, Any]:
    """Two values of each condition of a model; named: of those alone that every task can be given."""
    found = {CASES[entry][0]: CASES[entry][2] for entry in MODELS[which]}
    return {name: both for name, both in found.items() if name in NAMED or not named}


def write_data(folder: Path) -> Path:
    """Shapes of 16x16 with captions, classes, boxes, maps of classes, masks and a vector each."""
    shapes.write(folder, 8, size=16)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    (folder / "own").mkdir()
    for number, row in enumerate(rows):
        row |= {"embedding": f"own/{number}.npy", "mask": f"own/{number}.png"}
        np.save(folder / row["embedding"], DRAW.standard_normal(3))
        Image.fromarray(np.repeat(DRAW.integers(0, 2, (4, 4), np.uint8) * 255, 4, 0).repeat(4, 1)).save(
            folder / row["mask"]
        )
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


class Sweep:
    """The images, a first stage that all models share, and the models that are trained on it."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, write_data(root / "data")
        self.first = run_tiny(root / "first", self.data, {"data": DATA}, stage="autoencoder").path / "model"

    def train(self, which: str, name: str, *, cached: bool = True, **how: Any) -> Run:
        """Two steps of the denoiser of a model of `MODELS`, or those that are left of them, in the folder `name`."""
        changes = {
            "data": DATA,
            "autoencoder": {"from": str(self.first)},
            "diffusion.conditioning": conditioning(which),
            "diffusion.train.cache_latents": cached,
        }
        if which == "clip_text":  # its words come with a model
            changes["diffusion.from"] = str(self._with_words())
        return run_tiny(self.root / which / name, self.data, changes, **how)

    def _with_words(self) -> Path:
        """A model with the tokenizer of CLIP, to begin with."""
        folder = self.root / "words"
        if not folder.exists():
            own = {"unet": TINY["diffusion"]["unet"], "conditioning": conditioning("clip_text")}
            made = model(config(FIRST_STAGE, own), texts={"clip_tokenizer.json": clip_text(12)})
            model_folder.write(folder, made)
        return folder
