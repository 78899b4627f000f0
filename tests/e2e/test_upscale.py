"""Super-resolution from a folder to larger files. If these fail, the command does not do what its page says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentry.cli import run
from latentry.data.files import images
from tests.e2e.small_runs import noise, recipe, run_tiny, write_images

LOW = {"diffusion.conditioning": {"low": {"kind": "image", "factor": 4, "degradation": "bsr_light"}}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x4 with f = 2, on cached latents; the small images are made anew for each step."""
    root = tmp_path_factory.mktemp("sr")
    write_images(root / "data", noise(6, (16, 16, 3)))
    return run_tiny(root, root / "data", LOW).path


def test_files_become_four_times_as_large(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An odd 8-bit one in tiles, and a grey 16-bit one; each under its own name."""
    Image.fromarray(np.random.default_rng(0).integers(256, size=(9, 13, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    grey = np.random.default_rng(1).random((5, 4, 1))
    images.save(tmp_path / "b.png", grey, 16)
    words = ["upscale", trained, tmp_path / "a.png", tmp_path / "b.png", "--steps", "1", "--out", tmp_path / "out"]
    assert run([str(word) for word in words]) == 0
    assert "a.png -> " in capsys.readouterr().out
    found = {path.name: images.header(path) for path in (tmp_path / "out").iterdir()}
    assert {name: (h.height, h.width, h.channels, h.dtype) for name, h in found.items()} == {
        "a.png": (36, 52, 3, "uint8"),
        "b.png": (20, 16, 1, "uint16"),
    }


def test_a_factor_that_does_not_fit_is_told_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "data", noise(3, (18, 18, 3)))
    path = recipe(tmp_path, {**LOW, "data.size": 24, "diffusion.conditioning.low.factor": 3})
    assert run(["train", path, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]) == 2
    assert "image: factor 3 with a first stage of factor 2; one of them must divide" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
