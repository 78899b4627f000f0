"""If these fail, what a file has besides its first picture's colours is left out, or a mask misread, without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentry import config
from latentry.errors import UsageError
from latentry.pipeline import Pipeline
from latentry.tasks import TASKS
from tests.unit.pipeline.small_pipelines import pipeline

BOX = {"box": ["4,4,5,6"]}
TAKING: dict[str, tuple[str, dict[str, Any], str]] = {
    "generate": ("guide", {}, "both"),
    "vary": ("file", {}, "both"),
    "inpaint": ("file", BOX, "both"),
    "outpaint": ("file", {"left": 4}, "both"),
    "reconstruct": ("images", {}, "both"),
    "interpolate": ("files", {}, "both"),
    "edit": ("image", {"text": "a", "to": "b"}, "both"),
    "upscale": ("images", {}, "low"),
    "colorize": ("file", {}, "grey"),
}
"""task -> the field that names its files, what else it needs, and the model's conditions."""


def model(conditions: str) -> Pipeline:
    kinds: dict[str, Any] = {"low": {"kind": "image", "factor": 2, "channels": 3}, "grey": {"kind": "grey"}}
    if conditions == "both":
        return pipeline(background="white")
    return pipeline(conditions="none", background="white", conditioning={conditions: kinds[conditions]})


def said(task: str, path: Path) -> tuple[str, ...]:
    """The notes of a request for a file."""
    field, more, conditions = TAKING[task]
    given: Any = path if field in ("file", "image", "guide") else (path, path) if task == "interpolate" else (path,)
    entry = TASKS[task].task
    request = entry.request(config.validate(entry.options, {field: given, **more}, task), model(conditions).model)
    return tuple(dict.fromkeys(request.notes))


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[2:6, 3:9, 3] = 0
    return Image.fromarray(pixels)


@pytest.mark.parametrize("task", TAKING)
def test_frames_and_transparency_that_are_not_used_are_told(task: str, picture: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture.save(path)
    assert said(task, path) == (f"{path}: transparency: laid over white, as in training",)
    first = picture.convert("RGB")
    first.save(tmp_path / "b.gif", save_all=True, append_images=[first.rotate(90)])
    (note,) = said(task, tmp_path / "b.gif")
    assert note == f"{tmp_path / 'b.gif'}: animated or several pages (2): only the first is used"
    first.save(path)
    assert said(task, path) == ()


def test_transparency_that_is_the_hole_is_used(picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "a.png")
    assert pipeline().run("inpaint", file=tmp_path / "a.png", steps=1, resample=1).notes == ()


def test_of_a_mask_with_transparency_what_is_white_and_opaque_is_filled(picture: Image.Image, tmp_path: Path) -> None:
    """As strokes on a layer of their own are saved; and no pixel is filled for the colour behind nothing."""
    picture.convert("RGB").save(tmp_path / "a.png")
    layer = np.full((16, 16, 4), 255, np.uint8)
    layer[..., 3] = 0
    layer[4:8, 4:8, 3] = 255
    Image.fromarray(layer).save(tmp_path / "m.png")
    out = pipeline().run("inpaint", file=tmp_path / "a.png", mask=tmp_path / "m.png", steps=1, resample=1)
    assert out.notes == (f"{tmp_path / 'm.png'}: has transparency: what is white and opaque is filled",)
    changed = (out.arrays[0] != np.asarray(picture)[..., :3]).any(-1)
    assert changed[4:8, 4:8].mean() > 0.9
    changed[4:8, 4:8] = False
    assert not changed.any()


def test_a_mask_of_zeros_and_ones_is_told_what_white_is(picture: Image.Image, tmp_path: Path) -> None:
    picture.convert("RGB").save(tmp_path / "a.png")
    Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(UsageError, match=r"lightest is 0\.4% of white; accepted: .* Multiply a mask of 0 and 1 by 255"):
        pipeline().run("inpaint", file=tmp_path / "a.png", mask=tmp_path / "m.png")
