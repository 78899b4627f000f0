"""If these fail, "look at the images of these steps" leaves a person with ten thousand images to look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from latentry.data.dataset import ImageData
from latentry.errors import LatentryError
from latentry.training.loop.stage import StepResult
from latentry.training.plan.recipes import load
from latentry.training.stages.autoencoder.stage import AutoencoderStage
from latentry.training.stages.diffusion.stage import DiffusionStage
from latentry.training.stages.named import damaged_paths
from tests.e2e.small_runs import noise, recipe, run_tiny, write_images

BATCH, BAD = {"autoencoder.train.batch": 3, "diffusion.train.batch": 3}, float("nan")
MANY = {"autoencoder.train.steps": 9, "diffusion.train.steps": 9}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", noise(12, (16, 16, 3)))


def batch(folder: Path, data: Path, step: int) -> list[str]:
    """The images of a step, by what the stage is really fed."""
    source = ImageData(load(recipe(folder)).data, data)
    return [source.records[source.pick(position).index].path for position in range(step * 3, step * 3 + 3)]


@pytest.mark.parametrize(("kind", "stage"), [("autoencoder", AutoencoderStage), ("diffusion", DiffusionStage)])
def test_the_images_of_all_three_steps_are_named(
    kind: str, stage: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = stage.step

    def bad_from_2(self: Any, at: int, parts: list[Any]) -> StepResult:
        return step(self, at, parts) if at < 2 else StepResult({"loss": BAD, "pixel": BAD, "kl": 1.0}, False)

    monkeypatch.setattr(stage, "step", bad_from_2)
    said: list[str] = []
    with pytest.raises(LatentryError) as error:
        run_tiny(tmp_path, data, {**BATCH, **MANY}, report=said.append)
    text = str(error.value)
    assert text.startswith(f"{kind}: step 4: loss, pixel not finite 3 times in a row; stopped.")
    for at in (2, 3, 4):
        assert f"step {at}: {', '.join(batch(tmp_path, data, at))}" in text
    assert f"step 1: {', '.join(batch(tmp_path, data, 1))}" not in text
    events = [json.loads(row)["event"] for row in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    (first,) = [event for event in events if f"{kind}: step 2:" in event]
    assert f"Its images: {', '.join(batch(tmp_path, data, 2))}" in first


def test_of_many_images_the_first_are_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AutoencoderStage, "step", lambda *_: StepResult({"loss": BAD}, False))
    with pytest.raises(LatentryError, match=r"step 0: \S+png, \S+png, \S+png, \S+png and 4 more; step 1: "):
        run_tiny(tmp_path, data, {**MANY, "autoencoder.train.batch": 8})


def test_the_image_that_is_itself_not_finite_is_named_first(data: Path, tmp_path: Path) -> None:
    source = ImageData(load(recipe(tmp_path)).data, data)
    stage_step = AutoencoderStage.step
    said: list[str] = []

    def spoilt(self: AutoencoderStage, at: int, parts: list[Any]) -> Any:
        if at == 1:
            parts[0].image[2, 0, 0, 0] = BAD
        return stage_step(self, at, parts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoencoderStage, "step", spoilt)
        run_tiny(tmp_path, data, {**BATCH, "autoencoder.train.steps": 2}, stage="autoencoder", report=said.append)
    culprit = batch(tmp_path, data, 1)[2]
    (line,) = [text for text in said if "step 1" in text]
    assert f"Values that are not finite are in {culprit}. Its images: " in line
    assert damaged_paths(source, []) == []


def test_a_gradient_that_is_not_finite_is_named_by_its_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss was fine: what overflowed is somewhere in the network, and where is what a person needs to know."""
    build = AutoencoderStage.__init__

    def spoilt(self: AutoencoderStage, *parts: Any, **how: Any) -> None:
        build(self, *parts, **how)
        self.updater.weights["decoder.conv_out.bias"].register_hook(lambda gradient: gradient * BAD)

    monkeypatch.setattr(AutoencoderStage, "__init__", spoilt)
    with pytest.raises(LatentryError) as error:
        run_tiny(tmp_path, data, MANY, stage="autoencoder")
    assert "step 2: gradient_norm (the gradient of decoder.conv_out.bias) not finite" in str(error.value)
    assert torch.isfinite(torch.tensor(1.0))
