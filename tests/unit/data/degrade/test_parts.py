"""Blur, sizes, noise and JPEG against closed forms and other libraries; else a model learns to undo other damage."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import scipy.ndimage
import torch
from numpy.typing import NDArray
from PIL import Image

from latentry.data.degrade import resize
from latentry.data.degrade.blur import blur, covariance, gaussian
from latentry.data.degrade.jpeg import compressed
from latentry.data.degrade.noise import add_noise, correlation, root

IMAGE = np.random.default_rng(0).random((3, 24, 20), dtype=np.float32)


@pytest.mark.parametrize(("along", "across", "angle"), [(4, 4, 0), (6, 1, 0), (5, 1.5, np.pi / 4), (3, 2, 2.5)])
def test_a_kernel_has_the_covariance_that_was_asked_for(along: float, across: float, angle: float) -> None:
    """And its long side where the angle says: rows of the moments are y and x."""
    kernel = gaussian(41, covariance(along, across, angle))
    offsets = np.arange(41) - 20
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    moments = [[(kernel * a * b).sum() for b in (y, x)] for a in (y, x)]
    cos, sin = np.cos(angle), np.sin(angle)
    expected = np.array(  # the ellipse's matrix, multiplied out
        [
            [along * sin**2 + across * cos**2, (along - across) * sin * cos],
            [(along - across) * sin * cos, along * cos**2 + across * sin**2],
        ]
    )
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(moments, expected, atol=1e-3)
    np.testing.assert_allclose([(kernel * y).sum(), (kernel * x).sum()], 0, atol=1e-9)


def test_a_kernel_may_stand_beside_the_middle_or_be_a_single_pixel() -> None:
    moved = gaussian(25, np.eye(2) * 4, centre=-1.5)
    offsets = np.arange(25) - 12
    assert (moved.sum(0) * offsets).sum() == pytest.approx(-1.5, abs=1e-3)
    assert (moved.sum(1) * offsets).sum() == pytest.approx(-1.5, abs=1e-3)
    single = gaussian(7, np.eye(2) * 1e-4)
    assert single[3, 3] == 1
    assert single.sum() == 1


@pytest.mark.parametrize("size", [5, 15, 25])
def test_blur_is_the_convolution_of_scipy(size: int) -> None:
    """With the edge mirrored, for kernels that are not symmetric and larger than the image too."""
    kernel = np.random.default_rng(1).random((size, size))
    kernel /= kernel.sum()
    expected = np.stack([scipy.ndimage.convolve(band.astype(np.float64), kernel, mode="mirror") for band in IMAGE])
    np.testing.assert_allclose(blur(IMAGE, kernel), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 5), (7, 13), (24, 20), (37, 41)])
def test_linear_and_cubic_are_those_of_torch(size: tuple[int, int]) -> None:
    """Which has OpenCV's kernel and centres, and like it is not widened when it shrinks."""
    for kind, mode in (("linear", "bilinear"), ("cubic", "bicubic")):
        found = resize.interpolated(IMAGE, size, kind)
        expected = torch.nn.functional.interpolate(torch.from_numpy(IMAGE)[None], size, mode=mode, align_corners=False)
        np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-5)
        assert found.dtype == np.float32


@pytest.mark.parametrize("size", [(6, 5), (7, 13), (37, 41)])
def test_area_is_the_mean_of_what_a_pixel_covers(size: tuple[int, int]) -> None:
    """The difference of the integral at its edges, which is linear between old pixels."""

    def integrated(values: NDArray[np.float64], new: int) -> NDArray[np.float64]:
        old = len(values)
        integral = np.interp(np.arange(new + 1) * old / new, np.arange(old + 1), np.concatenate([[0], values.cumsum()]))
        return np.diff(integral) * new / old

    rows = np.apply_along_axis(integrated, 1, IMAGE.astype(np.float64), size[0])
    expected = np.apply_along_axis(integrated, 2, rows, size[1])
    np.testing.assert_allclose(resize.interpolated(IMAGE, size, "area"), expected, atol=1e-6)


@pytest.mark.parametrize("kind", resize.KINDS)
@pytest.mark.parametrize(("old", "new"), [(1, 1), (1, 5), (9, 1), (16, 4), (5, 13)])
def test_weights_sum_to_one(kind: str, old: int, new: int) -> None:
    """A flat image stays as bright as it is, to its edges."""
    weights = resize.KINDS[kind](old, new)
    assert weights.shape == (new, old)
    np.testing.assert_allclose(weights.sum(1), 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [30, 80, 95])
def test_jpeg_is_pillows(channels: int, quality: int) -> None:
    pixels = np.random.default_rng(2).integers(256, size=(17, 30, channels), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "JPEG", quality=quality)
    expected = np.atleast_3d(np.asarray(Image.open(file))).transpose(2, 0, 1)
    image = pixels.transpose(2, 0, 1).astype(np.float32) / 255
    found = compressed(image, quality)
    assert np.rint(found * 255).astype(int).tolist() == expected.tolist()
    assert np.abs(found - image).max() > 0.005  # it did something


def test_jpeg_of_bands_is_left_out() -> None:
    """Grey and colours are all it has: other bands must not be cut to three."""
    bands = np.random.default_rng(2).random((5, 8, 8), dtype=np.float32)
    assert compressed(bands, 30) is bands


@pytest.mark.parametrize("channels", [3, 5])
def test_noise_has_the_deviation_drawn_and_is_own_shared_or_correlated(channels: int) -> None:
    """40% of images each of the first two kinds, of whole deviations from 5 to 10; the rest up to the highest one."""
    flat = np.full((channels, 64, 64), 0.5, np.float32)
    kinds = {"own": 0, "shared": 0, "correlated": 0}
    for seed in range(200):
        noise = (add_noise(flat, (5, 10), np.random.default_rng(seed)) - flat) * 255
        deviations, correlations = noise.std((1, 2)), np.corrcoef(noise.reshape(channels, -1))
        shared, own = np.allclose(correlations, 1), np.abs(correlations - np.eye(channels)).max() < 0.1
        even = np.ptp(deviations) < 0.1 * deviations.mean()
        kind = "shared" if shared else "own" if own and even else "correlated"
        kinds[kind] += 1
        assert abs(noise.mean()) < 1.5
        assert deviations.max() < 10.5
        assert kind == "correlated" or abs(deviations.mean() - round(deviations.mean())) < 0.25
        assert kind == "correlated" or deviations.min() > 4.7
    assert 60 <= kinds["shared"] <= 100
    assert 60 <= kinds["own"] <= 105
    assert 20 <= kinds["correlated"] <= 60


@pytest.mark.parametrize("channels", [2, 3, 8])
def test_correlated_noise_has_its_covariance(channels: int) -> None:
    """Its largest possible variance is the highest level's; no channel is the opposite of another."""
    draw = np.random.default_rng(3)
    for _ in range(50):
        matrix = correlation(channels, draw)
        assert (matrix >= 0).all()
        assert np.diag(matrix).max() <= 1
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
        if channels <= 3:  # where absolute values leave a covariance
            np.testing.assert_allclose(root(matrix) @ root(matrix).T, matrix, atol=1e-9)
    assert np.isfinite(root(matrix)).all()
