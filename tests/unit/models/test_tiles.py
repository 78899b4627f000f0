"""If these fail, a large image differs from the same one decoded whole, or the disk is full in the middle of it."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from latentry.errors import LatentryError
from latentry.models import tiles
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions
from latentry.nn.tiled import layers
from latentry.nn.tiled import plane as planes
from tests.unit.pipeline.small_pipelines import pipeline


def psnr(a: Tensor, b: Tensor) -> float:
    """Of images in [-1, 1]."""
    return 10 * math.log10(4 / float((a - b).square().mean().clamp_min(1e-30)))


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_in_tiles_is_whole(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "side_for", lambda channels: 16)
    monkeypatch.setattr(tiles, "SIDE", 32)
    pipe = pipeline(kind, conditions="")
    images = torch.rand(2, 3, 52, 70, generator=torch.Generator().manual_seed(1)) * 2 - 1
    z = pipe.encode(images, tiled=False)
    assert (pipe.encode(images, tiled=True) - z).abs().max() < 1e-4 * z.abs().max()
    assert torch.allclose(pipe.encode(images, sample=3, tiled=True), pipe.encode(images, sample=3), atol=1e-3)
    whole = pipe.decode(z, tiled=False)
    assert torch.equal(pipe.decode(z), whole)
    assert psnr(pipe.decode(z, tiled=True), whole) > 60


def test_a_model_of_pixels_has_nothing_to_do_in_tiles() -> None:
    model = Autoencoder(AutoencoderOptions(kind="identity", z_channels=3), 3).eval()
    model.latent_scale.fill_(2.0)
    z = torch.randn(1, 3, 9, 7)
    assert torch.allclose(tiles.gathered(tiles.decode(model, z)), z / 2)


def test_images_are_worked_on_in_tiles_before_they_fill_the_memory() -> None:
    """The published first stages from about 600x600 on the CPU, the small one of emoji from about two megapixels."""
    published = Autoencoder(AutoencoderOptions(channels=32, multipliers=(1, 2)), 3)
    published.options = AutoencoderOptions(multipliers=(1, 2, 4, 4))
    assert not tiles.in_tiles(published, 512 * 512)
    assert tiles.in_tiles(published, 768 * 768)


def test_the_disk_is_asked_for_what_the_maps_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is counted beforehand is the most that is ever there, within the maps that are small."""
    there, most = 0, 0

    class Counted(planes._InMemory):
        def __init__(self, size: int) -> None:
            nonlocal there, most
            super().__init__(size)
            there += size
            most = max(most, there)

        def __del__(self) -> None:
            nonlocal there
            there -= 4 * self.values.size

    monkeypatch.setattr(planes, "_InMemory", Counted)
    monkeypatch.setattr(tiles, "IN_MEMORY", 0)
    autoencoder = pipeline(conditions="").autoencoder
    tiles.gathered(tiles.decode(autoencoder, torch.randn(1, 4, 32, 32)))
    asked = tiles.disk_bytes(autoencoder.decoder, (32, 32))
    assert asked <= most <= 1.4 * asked
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(LatentryError, match=r"an image of 64x64 needs .* of temporary files, 0.0 GB are free"):
        tiles.decode(autoencoder, torch.randn(1, 4, 32, 32), tmp_path)
