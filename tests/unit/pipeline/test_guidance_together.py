"""All guidance at once, with every solver. If these fail, one kind switches another off or mixes images of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from latentry.diffusion.solvers import SOLVERS
from latentry.pipeline import Pipeline
from tests.unit.pipeline.small_pipelines import pipeline


def worse() -> Pipeline:
    """The small pipeline with a denoiser that has gone astray."""
    other, draw = pipeline(), torch.Generator().manual_seed(3)
    assert other.denoiser is not None
    for parameter in other.denoiser.unet.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=draw)
    return other


@pytest.fixture
def everything(tmp_path: Path) -> dict[str, Any]:
    Image.new("RGB", (8, 8), "#2040c0").save(tmp_path / "guide.png")
    of_guide = {"guide": tmp_path / "guide.png", "guide_scale": 0.5}
    of_scale = {"guidance": 3.0, "guidance_interval": (0.3, 1.0), "guidance_rescale": 0.6}
    return {"text": ["a red circle", "a blue square"], "seed": 5, **of_scale, **of_guide, "autoguide": worse()}


@pytest.mark.parametrize("solver", SOLVERS)
def test_they_compose_with_every_solver(everything: dict[str, Any], solver: str) -> None:
    pipe = pipeline()
    together, alone = (pipe.sample(solver=solver, batch=batch, **everything).tensor for batch in (2, 1))
    assert together.isfinite().all()
    assert (together - alone).abs().max() < 1e-3


@pytest.mark.parametrize("left_out", ["guidance_interval", "guidance_rescale", "guide", "autoguide"])
def test_each_has_its_effect_beside_the_others(everything: dict[str, Any], left_out: str) -> None:
    pipe = pipeline()
    rest = {name: value for name, value in everything.items() if not name.startswith(left_out)}
    assert (pipe.sample(**everything).tensor - pipe.sample(**rest).tensor).abs().max() > 1e-3
