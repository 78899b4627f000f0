"""If these fail, an image goes through the first stage moved, mixed with others, or under another name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentry import __version__
from latentry.errors import UsageError
from latentry.pipeline import Pipeline
from tests.unit.pipeline.small_pipelines import pipeline


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return pipeline(conditions="")


def image(path: Path, height: int, width: int, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_each_is_what_the_first_stage_makes_of_it_alone(pipe: Pipeline, tmp_path: Path) -> None:
    paths = [image(tmp_path / f"{name}.png", 17, 20, seed) for seed, name in enumerate(("a", "b"))]
    out = pipe.reconstruct([str(path) for path in paths])
    for path, found in zip(paths, out.tensor, strict=True):
        pixels = torch.from_numpy(np.asarray(Image.open(path))[:16].copy()).permute(2, 0, 1)
        expected = pipe.decode(pipe.encode(pixels[None].float() / 127.5 - 1))
        assert torch.allclose(found, ((expected[0] + 1) / 2).clamp(0, 1), atol=1e-5)
    common = {"model": "abc123", "software": f"latentry {__version__}"}
    assert out.facts == [{"name": "a", **common}, {"name": "b", **common}]


def test_what_cannot_share_an_output_is_said(pipe: Pipeline, tmp_path: Path) -> None:
    paths = [image(tmp_path / "a.png", 16, 16), image(tmp_path / "b.png", 16, 20)]
    with pytest.raises(UsageError, match="2 images of different sizes into one output; reconstruct them one by one"):
        pipe.reconstruct(paths)
    with pytest.raises(UsageError, match=r"smaller than 2x2, one latent"):
        pipe.reconstruct([image(tmp_path / "c.png", 1, 9)])
    with pytest.raises(UsageError, match="images: "):
        pipe.reconstruct([])
