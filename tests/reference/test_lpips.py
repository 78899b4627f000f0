"""LPIPS with SqueezeNet gives the published distances; else no figure could be compared with other work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentry.nn import lpips
from tests.shared import SHARED

WEIGHTS = SHARED / "data" / "weights"
pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"no SqueezeNet weights at {WEIGHTS}")


@pytest.fixture(scope="module")
def model() -> lpips.LPIPS:
    return lpips.load("squeezenet", WEIGHTS / "squeezenet1_1.npz", WEIGHTS / "lpips_v0.1_squeeze.pth")


def image(name: str) -> Tensor:
    with Image.open(WEIGHTS / "lpips_example" / f"{name}.png") as opened:
        pixels = torch.from_numpy(np.array(opened.convert("RGB")))
    return pixels.float().permute(2, 0, 1)[None] / 127.5 - 1.0


@pytest.mark.parametrize(("name", "distance"), [("ex_p0", 0.7112), ("ex_p1", 0.1479), ("ex_ref", 0.0)])
def test_example_images(model: lpips.LPIPS, name: str, distance: float) -> None:
    assert model(image("ex_ref"), image(name)).item() == pytest.approx(distance, abs=5e-5)


@pytest.mark.parametrize(("sigma", "distance"), [(0.02, 0.025), (0.05, 0.134), (0.1, 0.236), (0.2, 0.461)])
def test_noise(model: lpips.LPIPS, sigma: float, distance: float) -> None:
    reference = image("ex_ref").expand(8, -1, -1, -1)
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    noisy = (reference + 2.0 * sigma * noise).clamp(-1.0, 1.0)
    assert model(reference, noisy).mean().item() == pytest.approx(distance, rel=0.15)


def test_both_forms_of_the_heads_are_the_same(model: lpips.LPIPS, tmp_path: Path) -> None:
    other = lpips.load("squeezenet", WEIGHTS / "squeezenet1_1.npz", WEIGHTS / "lpips_v0.1_squeeze.npz")
    assert other(image("ex_ref"), image("ex_p0")).item() == model(image("ex_ref"), image("ex_p0")).item()


def test_found_in_the_folder_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTRY_WEIGHTS", str(WEIGHTS))
    assert lpips.load("squeezenet")(image("ex_ref"), image("ex_p1")).item() == pytest.approx(0.1479, abs=5e-5)
