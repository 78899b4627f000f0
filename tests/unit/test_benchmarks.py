"""If these fail, the figures that say what models of each task can do are wrong, or cannot be had at all."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from latentry.data.shapes import generate_scenes

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("task_figures")


def part(name: str) -> ModuleType:
    """A module of it."""
    return importlib.import_module(f"task_figures.{name}")


class Draws:
    """In place of a model: gives images by their size, whatever is asked; of single files in turn."""

    def __init__(self, *images: Tensor) -> None:
        self.images, self.done = images, 0

    def sample(self, *_: Any, size: tuple[int, int] = (64, 64), **asked: Any) -> SimpleNamespace:
        (found,) = (images for images in self.images if tuple(images.shape[2:]) == size)
        return SimpleNamespace(tensor=found)

    def run(self, task: str, **asked: Any) -> SimpleNamespace:
        if task == "upscale":
            assert len(asked["images"]) == len(self.images[0])
            return SimpleNamespace(tensor=self.images[0])
        self.done += 1
        return SimpleNamespace(tensor=self.images[0][self.done - 1 : self.done])


def measured(figures: ModuleType, name: str, model: Draws, baseline: Draws | None = None, count: int = 30) -> Any:
    found, sheet = figures.MEASURES[name](model, figures.Asked(count, 0, None, None), baseline)
    assert sheet.shape[0] % min(figures.SHOWN, count) == 0
    return {figure.name: figure for figure in found}


def truth(figures: ModuleType, count: int = 30, size: tuple[int, int] = (64, 64)) -> Tensor:
    images: Tensor = part("common").pictures(figures.Asked(count, 0, None, None).scenes(size))
    return images


def test_real_images_reach_all_that_is_wanted_and_shuffled_ones_do_not(figures: ModuleType) -> None:
    real, others = truth(figures), [truth(figures, size=size) for size in ((128, 128), (64, 192))]
    for name in ("layout", "semantic", "text"):
        assert all(figure.ok for figure in measured(figures, name, Draws(real, *others)).values()), name
        wrong = measured(figures, name, Draws(*(images.roll(1, 0) for images in (real, *others))))
        assert wrong.pop("judge right on real images").ok
        assert all(figure.value < 0.45 for figure in wrong.values()), name


def test_requests_are_not_of_the_training_set(figures: ModuleType) -> None:
    trained = {scene.image.tobytes() for scene in generate_scenes(40)}
    assert not trained & {scene.image.tobytes() for scene in figures.Asked(40, 0, None, None).scenes()}


def test_a_hole_is_completed_by_the_truth_and_by_nothing_that_is_easy(figures: ModuleType) -> None:
    real = truth(figures)
    masks, _ = part("inpaint").holes(figures.Asked(30, 0, None, None).scenes(), 0)
    share = masks.float().mean((1, 2))
    assert share.min() > 0.005
    assert share.max() < 0.35
    assert all(figure.ok for figure in measured(figures, "inpaint", Draws(real)).values())
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(0))
    for fill in (noise, torch.full_like(real, 0.5), real[:, :, :1, :1].expand_as(real)):
        found = measured(figures, "inpaint", Draws(torch.where(masks[:, None], fill, real)))
        assert found["shape completed rightly"].value < 0.1
        assert found["known pixels that changed (of 8 bits)"].ok
    spoilt = measured(figures, "inpaint", Draws(real + 1 / 255))
    assert spoilt["known pixels that changed (of 8 bits)"].value > 1000


@pytest.mark.usefixtures("figures")
def test_the_standard_error_of_a_seam_is_how_far_new_ones_vary() -> None:
    chance, ratio = np.random.default_rng(0), part("inpaint").ratio
    found = [ratio(*chance.exponential((1.2, 1.0), (100, 2)).T) for _ in range(400)]
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(1.2, abs=0.05)
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)


def test_an_enlargement_is_held_against_truth_input_and_regression(figures: ModuleType) -> None:
    real = truth(figures)
    small = part("sr").shrunk(real)
    pillow = Image.fromarray((real[0] * 255).byte().movedim(0, -1).numpy()).resize((16, 16), Image.Resampling.BICUBIC)
    assert np.array_equal((small[0] * 255).round().byte().movedim(0, -1).numpy(), np.asarray(pillow))
    smooth = functional.interpolate(small, scale_factor=4, mode="bicubic").clamp(0, 1)
    found = measured(figures, "sr", Draws(real), Draws(smooth))
    assert all(figure.ok for figure in found.values())
    assert found["SSIM of the model"].value == pytest.approx(1)
    assert found["gradient energy of the regression over the truth's"].value < 0.8
    assert found["PSNR lost to the regression (dB)"].value < -50
    turned = measured(figures, "sr", Draws(smooth), Draws(real))
    assert not turned["PSNR lost to the regression (dB)"].ok
    assert not turned["nearer to the truth's gradient energy by (log)"].ok


def test_the_command_trains_asks_judges_and_keeps_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["tasks.py", "semantic", "--quick", "--out", str(tmp_path / "runs")])
    assert importlib.import_module("tasks").main() == 0
    assert "mean IoU of maps, 64x192" in capsys.readouterr().out
    out = tmp_path / "runs" / "shapes-semantic-seed-0-quick"
    assert json.loads((out / "task-semantic.json").read_text())["judge right on real images"] >= 0.99
    assert (out / "task-semantic.png").is_file()
    assert (out / "model" / "model.yaml").is_file()


def test_a_distilled_model_that_draws_as_its_teacher_loses_nothing_and_noise_all(figures: ModuleType) -> None:
    real = truth(figures)
    found = measured(figures, "distill", Draws(real), Draws(real))
    assert all(figure.ok for figure in found.values())
    assert found["2 steps above the teacher"].value == 0
    found = measured(figures, "distill", Draws(real), Draws(real.roll(1, 0)))
    assert not found["2 steps above the teacher"].ok
    assert found["right by the teacher"].value == 1
    assert found["right in 4 steps of the distilled"].value < 0.45
