"""If these fail, a pixel-space model (the paper's LDM-1) is trained on something else than its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import latentry as lt
from latentry.errors import UsageError
from tests.e2e.small_runs import noise, run_tiny, write_images

CHANGES = {"autoencoder": {"kind": "identity", "z_channels": 3}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), noise(12, (16, 16, 3)))


def test_the_latent_is_the_image_and_only_the_second_stage_trains(data, tmp_path):
    run = run_tiny(tmp_path, data, CHANGES)
    pipe = lt.load(run.path / "model")
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(pipe.encode(images), images)
    assert torch.equal(pipe.decode(images), images)
    assert pipe.autoencoder.factor == 1
    assert not list(pipe.autoencoder.parameters())
    assert not (run.path / "autoencoder").exists()
    assert pipe.sample(n=2, clip=True).tensor.shape == (2, 3, 16, 16)


def test_clip_holds_every_x0_inside_the_range(data, tmp_path):
    pipe = lt.load(run_tiny(tmp_path, data, {**CHANGES, "sample.clip": True}).path / "model")
    assert max(float(step.x0.abs().max()) for step in pipe.steps(n=2)) <= 1
    assert max(float(step.x0.abs().max()) for step in pipe.steps(n=2, clip=False)) > 1


def test_an_image_guides_pixels_and_clipping_holds_what_it_adds(data, tmp_path):
    """The gradient passes no decoder there, and is not cut where the prediction is out of range."""
    pipe = lt.load(run_tiny(tmp_path, data, CHANGES).path / "model", device="cpu")
    how = {"n": 2, "steps": 8, "guide": data / "0.png"}
    plain, guided = (pipe.sample(clip=True, **{**how, **more}) for more in ({"guide": None}, {}))
    with Image.open(data / "0.png") as image:
        wanted = torch.from_numpy(np.asarray(image) / 255).permute(2, 0, 1)
    far, near = ((out.tensor - wanted).square().mean() for out in (plain, guided))
    assert near < far / 4
    assert max(float(step.x0.abs().max()) for step in pipe.steps(clip=True, **how)) <= 1
    assert max(float(step.x0.abs().max()) for step in pipe.steps(**how)) > 1


def test_it_rehearses_and_resumes(data, tmp_path):
    run_tiny(tmp_path, data, CHANGES, dry_run=True)
    run_tiny(tmp_path, data, CHANGES)
    run_tiny(tmp_path, data, {**CHANGES, "diffusion.train.steps": 3})
    assert lt.load(tmp_path / "run/model").config.trained == {"diffusion_steps": 3}


@pytest.mark.parametrize(
    ("changes", "how", "said"),
    [
        ({"autoencoder": {"kind": "identity"}}, {}, "z_channels 4; the images have 3 channels"),
        (CHANGES, {"stage": "autoencoder"}, "it has no weights; there is nothing to train"),
    ],
)
def test_what_cannot_be_is_said(changes, how, said, data, tmp_path):
    with pytest.raises(UsageError, match=said):
        run_tiny(tmp_path, data, changes, **how)
