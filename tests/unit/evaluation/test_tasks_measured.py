"""If these fail, figures of super-resolution, inpainting and colouring are not those of what the commands give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from latentry.cli import run as command
from latentry.data.dataset import ImageData
from latentry.data.options import DataOptions
from latentry.evaluation import result
from latentry.evaluation.images.drawn import TaskResults
from latentry.metrics.psnr import psnr
from tests.e2e.small_runs import noise, run_tiny, write_images

MODELS: dict[str, dict[str, Any]] = {
    "super-resolution": {"low": {"kind": "image", "factor": 2}},
    "inpainting": {"hole": {"kind": "masked", "masks": "boxes", "latent_channels": 4}},
    "colouring": {"grey": {"kind": "grey", "factor": 2}},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LATENTRY_WEIGHTS", raising=False)


@pytest.mark.parametrize("task", MODELS)
def test_what_a_task_gives_is_measured_by_the_command(task, tmp_path, monkeypatch):
    """PSNR by hand of the very images that were drawn, whose file the report shows too."""
    images = write_images(tmp_path / "images", noise(24, (16, 16, 3)))
    drop = dict.fromkeys(MODELS[task], 0.0)
    changes = {"diffusion.conditioning": MODELS[task], "diffusion.train.drop_condition": drop, "data.held_out": 0.4}
    run = run_tiny(tmp_path, images, changes)
    seen = list[tuple[torch.Tensor, torch.Tensor]]()
    pairs = TaskResults.pairs

    def noted(self, real, numbers):
        for pair in pairs(self, real, numbers):
            seen.append(pair)
            yield pair

    monkeypatch.setattr(TaskResults, "pairs", noted)
    words = ["evaluate", str(run.path), "--data", str(images), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert command([*words, "--batch", "4"]) == 0
    found = result.read(tmp_path / "out")
    real, made = (torch.cat(side) for side in zip(*seen, strict=True))
    name = next(iter(MODELS[task]))
    what = f"{name} results on held-out images"
    assert found.value(f"PSNR of {what} (dB)") == pytest.approx(float(psnr(real, made, 1.0).mean()), abs=1e-4)
    assert {f.name.partition("[")[0] for f in found.figures} >= {"FD", "KD", "recall", f"SSIM of {what}", "R-FD"}
    assert len(real) == len(ImageData(DataOptions(size=16, held_out=0.4), images, "held_out"))
    assert Image.open(tmp_path / "out" / "results.png").size[1] > 16
    assert found.model["samples_per_second"] > 0
