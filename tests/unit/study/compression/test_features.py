"""If these fail, factors are compared in features in which a spoilt image looks like a good one."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageFilter

from latentry.metrics.distances import mmd2
from latentry.nn import weights
from latentry.study.compression.features import PyramidFeatures, shared_features


def pictures(count: int = 60, channels: int = 3) -> torch.Tensor:
    """Smooth colours with an edge in each."""
    draw = np.random.default_rng(1)
    arrays = draw.random((count, channels, 4, 4)).repeat(8, 2).repeat(8, 3)
    return torch.from_numpy(arrays.astype(np.float32))


def spoilt(images: torch.Tensor, radius: float) -> torch.Tensor:
    """Blurred by Pillow."""
    found = []
    for image in images:
        picture = Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy())
        found.append(np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255)
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    features = PyramidFeatures()
    return mmd2(features(one), features(other))


def test_distances_rise_with_blur_and_noise() -> None:
    images, others = pictures(120).split(60)
    blurred = [distance(images, spoilt(others, radius)) for radius in (0, 1, 2, 4)]
    assert blurred == sorted(blurred)
    noise = torch.randn(others.shape, generator=torch.Generator().manual_seed(0))
    noisy = [distance(images, (others + scale * noise).clamp(0, 1)) for scale in (0, 0.05, 0.1, 0.3)]
    assert noisy == sorted(noisy)
    assert noisy[0] < 0.05 * min(blurred[-1], noisy[-1])


def test_the_last_numbers_are_the_colours_of_cells() -> None:
    """Against numpy: what two halvings leave of 32x32, the means of 8x8 pixels."""
    images = pictures(3)
    cells = images.numpy().reshape(3, 3, 4, 8, 4, 8).mean((3, 5)).reshape(3, -1)
    np.testing.assert_allclose(PyramidFeatures()(images)[:, -48:].numpy(), cells, atol=1e-6)


def test_any_channels_and_sizes_are_measured() -> None:
    for channels, size in ((1, (16, 16)), (5, (24, 40)), (4, (8, 8))):
        found = PyramidFeatures()(torch.rand(2, channels, *size))
        assert found.shape[0] == 2
        assert found.shape[1] % (16 * channels) == 0
        assert found.isfinite().all()


def test_no_weights_are_asked_for(monkeypatch) -> None:
    """A study on a machine without a network measures all the same."""
    monkeypatch.setattr(weights, "located", lambda name: None)
    assert [one.kind for one in shared_features(3, False, torch.device("cpu"))] == ["pyramid"]


def test_transparent_files_over_a_background_are_colours() -> None:
    """RGBA files of three channels, as emoji over white, and four that are kept."""
    assert shared_features(3, True, torch.device("cpu"))[-1](torch.rand(2, 3, 16, 16)).shape[0] == 2
    for channels in (3, 4):
        for one in shared_features(channels, True, torch.device("cpu")):
            assert len(one(torch.rand(2, channels, 32, 32))) == 2
