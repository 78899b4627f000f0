"""If these fail, the second stage trains on latents of a wrong scale, or on another first stage than is shipped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import latentry as lt
from latentry.config import load_yaml
from latentry.data.dataset import ImageData
from latentry.training.plan.recipes import load
from tests.e2e.small_runs import noise, recipe, run_tiny, write_images


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), noise(12, (16, 16, 3)))


CHOOSE = "latentry.training.plan.precision.choose"


def deviation(model: Path, data: Path) -> float:
    """Of the scaled latents, posterior means, of all training images."""
    pipe = lt.load(model)
    images = ImageData(load(recipe(model.parent)).data, data)
    z = pipe.encode(torch.stack([images.sample(i).image for i in range(len(images))]), sample=0)
    return float(z.detach().std())


@pytest.mark.parametrize("kind", ["kl", "vq"])
@pytest.mark.parametrize("asked", [None, "measure", 0.5])
def test_the_scale_is_measured_for_kl_and_for_vq_where_asked(kind, asked, data, tmp_path):
    said: list[str] = []
    changes = {"autoencoder.kind": kind, "autoencoder.codes": 8, "autoencoder.latent_scale": asked}
    run = run_tiny(tmp_path, data, changes, stage="autoencoder", report=said.append)
    scale = float(lt.load(run.path / "model").autoencoder.latent_scale)
    if asked == 0.5 or (kind == "vq" and asked is None):
        assert scale == (asked or 1.0)
        far = not 0.5 <= deviation(run.path / "model", data) / scale <= 2
        assert any("latent_scale: measure" in line for line in said) == (far and asked is None)
    else:
        assert deviation(run.path / "model", data) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_a_run_whose_first_stage_is_done_opens_with_its_scale(weights, data, tmp_path):
    run = run_tiny(tmp_path, data, {"autoencoder.train.ema": 0.9}, stage="autoencoder")
    scale = float(lt.load(run.path / "model").autoencoder.latent_scale)
    assert float(lt.load(run.path, weights=weights).autoencoder.latent_scale) == scale != 1


@pytest.fixture(scope="module")
def first(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    changes = {"autoencoder.train.save_every": 1, "autoencoder.multipliers": [1, 1]}
    return run_tiny(tmp_path_factory.mktemp("first"), data, changes, stage="autoencoder").path


def taken(source: Path, data: Path, folder: Path, changes: dict[str, Any] | None = None) -> dict[str, torch.Tensor]:
    """What a run that names this first stage ships."""
    run = run_tiny(folder, data, {"autoencoder": {"from": str(source), **(changes or {})}})
    return lt.load(run.path / "model").autoencoder.state_dict()


def test_a_given_first_stage_is_shipped_with_its_scale(first, data, tmp_path):
    expected = lt.load(first / "model").autoencoder.state_dict()
    for number, source in enumerate((first, first / "model")):
        found = taken(source, data, tmp_path / str(number))
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert float(taken(first, data, tmp_path / "said", {"latent_scale": 0.25})["latent_scale"]) == 0.25


def test_a_given_first_stage_whose_run_is_not_finished_is_measured_here(first, data, tmp_path):
    unfinished = shutil.copytree(first, tmp_path / "unfinished")
    shutil.rmtree(unfinished / "model")
    found = float(taken(unfinished, data, tmp_path / "run")["latent_scale"])
    assert found == pytest.approx(float(lt.load(first / "model").autoencoder.latent_scale), rel=0.05)


def test_a_resumed_run_keeps_the_first_stage_it_began_with(first, data, tmp_path):
    source = shutil.copytree(first, tmp_path / "source")
    before = taken(source, data, tmp_path / "run")
    other = run_tiny(tmp_path / "other", data, {"seed": 1, "autoencoder.multipliers": [1, 1]}, stage="autoencoder").path
    shutil.rmtree(source)
    shutil.copytree(other, source)
    longer = {"autoencoder": {"from": str(source)}, "diffusion.train.steps": 4}
    run = run_tiny(tmp_path / "run", data, longer)
    after = lt.load(run.path / "model").autoencoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    "condition", [{"kind": "image", "factor": 2}, {"kind": "masked", "latent_channels": 4, "masks": "boxes"}]
)
def test_timing_takes_values_of_conditions_that_read_pixels(condition, data, tmp_path, monkeypatch):
    """Such a condition has no value of its own to be timed with, and may pass its image through the first stage."""
    timed: list[int] = []

    def choose(work, device, precision, **_):
        timed.append(work().ndim)
        return "fp32"

    monkeypatch.setattr(CHOOSE, choose)
    changes = {"diffusion.train.precision": "auto", "diffusion.conditioning": {"own": condition}}
    run = run_tiny(tmp_path, data, changes)
    assert timed == [0]
    assert lt.load(run.path / "model").denoiser is not None


def test_a_precision_chosen_by_timing_is_kept_for_every_resume(data, tmp_path, monkeypatch):
    auto = {"autoencoder.train.precision": "auto", "diffusion.train.precision": "auto"}
    monkeypatch.setattr(CHOOSE, lambda work, device, asked, **_: work() is not None and "bf16")
    run = run_tiny(tmp_path, data, auto)
    monkeypatch.setattr(CHOOSE, lambda work, device, asked, **_: pytest.fail("chosen again"))
    run_tiny(tmp_path, data, {**auto, "diffusion.train.steps": 3})
    tree = load_yaml(run.path / "recipe.yaml")
    assert [tree[stage]["train"]["precision"] for stage in ("autoencoder", "diffusion")] == ["bf16", "bf16"]
