"""Channels and size: exact where they can be, smooth where they must be."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from latentry.data.files.header import Header
from latentry.data.options import DataOptions
from latentry.data.prepare import composite, fit_channels, mismatch, to_depth
from latentry.data.transform import MIDDLE, Crop, geometry, image
from tests.unit.data.files import noise, options


def fit_size(array: NDArray[Any], o: DataOptions, crop: Crop = MIDDLE, alpha: bool = False) -> NDArray[Any]:
    """An array as in the sample."""
    return image(array, geometry(array.shape[0], array.shape[1], o, crop), o.colour, alpha)


@pytest.mark.parametrize("depth", [8, 16])
def test_compositing_is_the_exact_formula_rounded_once(depth: int) -> None:
    """a*c + (1-a)*b in exact fractions; the largest values must not overflow."""
    top = 2**depth - 1
    pixels = noise(20, 20, 4, depth)
    pixels[0, :4, :] = [[top, top, top, top], [top, 0, 0, 0], [0, top, 1, top - 1], [top, top, top, 1]]
    background = (255, 0, 77)
    got = composite(pixels[..., :3], pixels[..., 3:], background)
    for y, x in np.ndindex(20, 20):
        alpha = Fraction(int(pixels[y, x, 3]), top)
        for c in range(3):
            exact = alpha * int(pixels[y, x, c]) + (1 - alpha) * Fraction(background[c] * top, 255)
            assert abs(exact - int(got[y, x, c])) <= Fraction(1, 2)


def test_which_channels_fit_which() -> None:
    """Gray becomes RGB, transparency meets a background, and bands are neither cut nor invented."""

    def header(channels: int, alpha: bool = False) -> Header:
        return Header(8, 8, channels, 8, "PNG", alpha)

    assert mismatch(header(1), options(channels=3)) is None
    assert mismatch(header(4, True), options(channels=3)) is None
    assert mismatch(header(2, True), options(channels=3)) is None
    assert mismatch(header(2, True), options(channels=1)) is None
    assert mismatch(header(4, True), options(channels=4)) is None
    assert mismatch(header(4), options(channels=3)) == "4 channels"
    assert mismatch(header(3), options(channels=1)) == "3 channels"
    assert mismatch(header(3), options(channels=4)) == "3 channels"
    assert "no data.background" in str(mismatch(header(4, True), options(channels=3, background=None)))


def test_gray_with_alpha_over_a_colour() -> None:
    """The background keeps its colour although the drawing is gray."""
    array = np.array([[[100, 0], [100, 255]]], dtype=np.uint8)
    got = fit_channels(array, Header(2, 1, 2, 8, "PNG", alpha=True), options(background="#ff8000"))
    assert got.tolist() == [[[255, 128, 0], [100, 100, 100]]]


def test_a_coloured_background_for_gray_images_is_refused() -> None:
    """It could only be cut to its red part."""
    with pytest.raises(ValidationError, match="not a gray"):
        options(channels=1, background="#ff8000")
    with pytest.raises(ValidationError, match='no colour "wihte"'):
        options(background="wihte")


def test_depth_changes_are_exact_upwards_and_nearest_downwards() -> None:
    """8 to 16 bits and back is the identity; white stays white."""
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    sixteen = to_depth(eight, 16)
    assert sixteen.max() == 65535
    np.testing.assert_array_equal(to_depth(sixteen, 8), eight)
    assert to_depth(np.array([[[0.5], [1.0]]], dtype=np.float32), 16).ravel().tolist() == [32768, 65535]


@pytest.mark.parametrize(("channels", "depth"), [(1, 16), (3, 8), (3, 16), (5, 16)])
@pytest.mark.parametrize("crop", ["center", "random", "pad"])
def test_no_pixel_changes_where_no_resize_is_needed(channels: int, depth: int, crop: str) -> None:
    """Resampling at scale one would blur, and cost the low bits."""
    pixels = noise(96, 64, channels, depth)
    np.testing.assert_array_equal(fit_size(pixels, options(size=(96, 64), channels=channels, crop=crop)), pixels)


def test_center_and_random_crops_lie_where_they_should() -> None:
    """At full scale a crop is a piece of the picture, and both ends can be reached."""
    pixels = noise(10, 17, 3)
    o = options(size=10, crop="random")
    np.testing.assert_array_equal(fit_size(pixels, o), pixels[:, 4:14])
    np.testing.assert_array_equal(fit_size(pixels, o, Crop(0.0, 0.5)), pixels[:, :10])
    np.testing.assert_array_equal(fit_size(pixels, o, Crop(0.9999, 0.5)), pixels[:, 7:])


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_shrinking_is_antialiased_and_keeps_its_place(channels: int, depth: int) -> None:
    """A fine checkerboard becomes even gray, not noise; a ramp keeps its middle and its ends."""
    top = 2**depth - 1
    kind = np.uint8 if depth == 8 else np.uint16
    board = np.repeat(((np.indices((64, 64)).sum(axis=0) % 2) * top).astype(kind)[..., None], channels, axis=2)
    small = fit_size(board, options(size=16, channels=channels))
    assert small.shape == (16, 16, channels)
    assert small.dtype == kind
    np.testing.assert_allclose(small / top, 0.5, atol=0.01)
    ramp = np.repeat(np.repeat((np.arange(64) / 63 * top).astype(kind)[None, :, None], 64, axis=0), channels, axis=2)
    expected = (np.arange(16) * 4 + 1.5) / 63
    np.testing.assert_allclose(
        fit_size(ramp, options(size=16, channels=channels))[8, 2:-2, 0] / top, expected[2:-2], atol=0.01
    )


def test_a_landscape_is_cut_not_squeezed_and_padded_when_asked() -> None:
    """Circles must stay circles."""
    disc = (np.hypot(*(np.indices((80, 160)) - np.array([39.5, 79.5])[:, None, None])) < 30).astype(np.uint8) * 255
    disc = np.repeat(disc[..., None], 3, axis=2)
    cut = fit_size(disc, options(size=40))
    assert float(cut[20].sum()) == pytest.approx(float(cut[:, 20].sum()), rel=0.03)
    padded = fit_size(disc, options(size=40, crop="pad", background="#ff0000"))
    assert padded[0, 0].tolist() == [255, 0, 0]
    assert padded[20, 20].tolist() == [255, 255, 255]
    assert (padded[:10] == [255, 0, 0]).all()
    assert not (padded[10] == [255, 0, 0]).all()


def test_kept_transparency_does_not_bleed_hidden_colours() -> None:
    """Clear pixels hold any colour; resized bluntly they put a dark rim around every sprite."""
    sprite = np.zeros((32, 32, 4), dtype=np.uint8)
    sprite[8:24, 8:24] = (250, 200, 100, 255)
    small = fit_size(sprite, options(size=9, channels=4), alpha=True)
    rim = small[(small[..., 3] > 20) & (small[..., 3] < 235)]
    assert len(rim)
    np.testing.assert_allclose(rim[:, :3], np.broadcast_to((250, 200, 100), (len(rim), 3)), atol=6)
