"""If these fail, editing a person's own image loses the image, or is refused without saying why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentry.cli import run
from latentry.errors import LatentryError
from latentry.metrics.psnr import psnr
from latentry.models.config import SampleOptions
from latentry.pipeline import Pipeline
from tests.unit.pipeline.small_pipelines import pipeline

RED, BLUE = "a red circle", "a blue circle"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of sides that do not fit the network."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (18, 23, 3), dtype=np.uint8)).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def kept(pipe: Pipeline, file: Path) -> torch.Tensor:
    """What the first stage keeps of the image, padded to what fits by its mirror image."""
    pixels = torch.from_numpy(np.pad(np.array(Image.open(file)), [(0, 2), (0, 1), (0, 0)], mode="symmetric"))
    z = pipe.encode(pixels.permute(2, 0, 1)[None] / 127.5 - 1)
    return ((pipe.decode(z) + 1) / 2).clamp(0, 1)[..., :18, :23]


@pytest.mark.parametrize("levels", ["uniform", "trailing", "published"])
def test_the_original_is_the_image_up_to_the_first_stage(file: Path, levels: str) -> None:
    pipe = pipeline()
    how: dict[str, Any] = {"image": file, "levels": levels, "guidance": 4.0}
    same, other = pipe.edit(RED, RED, **how), pipe.edit(RED, BLUE, **how)
    for one in (same.tensor[0], same.tensor[1], other.tensor[0]):
        assert psnr(one[None], kept(pipe, file), 1.0).item() > 60
    assert psnr(other.tensor[1:], kept(pipe, file), 1.0).item() < 60
    assert other.tensor.shape == (2, 3, 18, 23)


def test_what_the_model_does_not_tell_apart_comes_back_the_closer_the_more_steps(file: Path) -> None:
    """Both prompts are its unknown token: the edit differs from the image by the error of the inversion alone."""
    pipe, found = pipeline(), []
    for steps in (10, 40, 160):
        how: dict[str, Any] = {"image": file, "steps": steps, "guidance": 1.0}
        last = [*pipe.steps("a 犬 circle", task="edit", to="a 猫 circle", **how)][-1].x
        found.append(float((last[1] - last[0]).norm() / last[0].norm()))
    assert found[2] < 0.5 * found[0], found


def test_names_and_texts_say_what_was_edited(file: Path, tmp_path: Path) -> None:
    paths = pipeline().edit(RED, BLUE, image=file).save(tmp_path / "out")
    assert [path.name for path in paths] == ["one-original.png", "one-edit.png"]
    text = Image.open(paths[1]).info
    assert (text["prompt"], text["edited_from"], text["image"], text["solver"]) == (BLUE, RED, str(file), "ddim")


def test_the_command(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentry.pipeline.load", lambda *_, **__: pipeline())
    assert run(["edit", "model", RED, "--to", BLUE, "--image", str(file), "--out", str(tmp_path / "out")]) == 0
    expected = pipeline().edit(RED, BLUE, image=file)
    for name, image in zip(("original", "edit"), expected.images, strict=True):
        assert Image.open(tmp_path / "out" / f"one-{name}.png").tobytes() == image.tobytes()


def test_a_model_that_samples_by_another_solver_edits_by_ddim(file: Path) -> None:
    pipe = pipeline()
    expected = pipe.edit(RED, BLUE, image=file).tensor
    chosen = {**pipe.config.sample.model_dump(), "solver": "plms"}
    pipe.config = pipe.config.model_copy(update={"sample": SampleOptions.model_validate(chosen)})
    assert torch.equal(pipe.edit(RED, BLUE, image=file).tensor, expected)
    assert torch.equal(pipe.edit(RED, BLUE, image=file, solver="ddim:eta=0").tensor, expected)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (
            {"solver": "ddpm"},
            "solver: ddpm cannot be taken back from an image to its noise; accepted with an image: ddim",
        ),
        ({"solver": "plms"}, "solver: plms"),
        ({"solver": "ddim:eta=0.5"}, "solver: ddim, 0.5"),
        ({"tile": 8}, "tile: an image is edited whole"),
        ({"n": 2}, "n: 2 edits of an image"),
        ({"label": ["circle", "star"]}, "n: 2 edits of an image"),
        ({"size": 16}, "size: an image is edited at its own, 18x23"),
        ({"image": "none.png"}, "none.png"),
    ],
)
def test_what_cannot_be_asked_is_one_line(file: Path, options: dict[str, Any], part: str) -> None:
    with pytest.raises(LatentryError) as caught:
        pipeline().edit(RED, BLUE, **{"image": file, **options})
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_regression_model_has_no_noise_to_go_back_to(file: Path) -> None:
    """Its one step maps conditions to the image: inverting it would give a picture that is no edit of anything."""
    with pytest.raises(LatentryError, match=r"^image: this model was trained with `prediction: regression`") as caught:
        pipeline(prediction="regression").edit(RED, BLUE, image=file)
    assert len(str(caught.value).splitlines()) == 1
