"""Every recipe that comes with latentry, on a folder with every field: whether a plan of its training can be made.

If these fail, a recipe stops with an error on the first machine that it is tried on.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentry.data import shapes
from latentry.training.plan.decide import plan
from latentry.training.plan.recipes import Recipe, load, names


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of 32x32 with captions, classes, boxes, maps and masks, and the fields that images of the recipes have."""
    data = tmp_path_factory.mktemp("data")
    shapes.write(data, 20, size=32, scenes=True)
    rows = [json.loads(line) for line in (data / "metadata.jsonl").read_text().splitlines()]
    (data / "own").mkdir()
    for number, row in enumerate(rows):
        Image.fromarray(np.eye(32, dtype=np.uint8) * 255).save(data / "own" / f"{number}.png")
        row |= {"mask": f"own/{number}.png", "name": str(number)}
        row["pair"] = row["text"] = f"{row['objects']['colours'][0]} {row['label']}"
    rows[-1]["skin_tone"] = "dark"
    (data / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return data


def settled(name: str) -> Recipe:
    """The recipe without what is measured or fetched."""
    changes = ["data.enlarge=100", "diffusion.train.precision=fp32"]
    if load(name).autoencoder.trains:
        changes += ["autoencoder.train.precision=fp32", "autoencoder.objective.perceptual=none"]
    return load(name, changes)


@pytest.mark.parametrize("name", names())
def test_its_plan_is_made(name: str, folder: Path, tmp_path: Path) -> None:
    recipe = settled(name)
    made = plan(recipe, folder, tmp_path / "run", report=lambda _: None)
    assert made.stages == tuple(made.selected)
    conditioning = recipe.diffusion.conditioning
    if isinstance(conditioning, dict) and "diffusion" in made.stages:
        assert made.model.diffusion is not None
        assert made.model.diffusion.conditioning.keys() == conditioning.keys()
    assert not (tmp_path / "run").exists()
