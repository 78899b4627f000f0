"""If these fail, a box or a map no longer lies on what it names, and the model learns the sky where the ground is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentry.data import transform
from latentry.data.transform import Crop, Geometry
from tests.unit.data.files import noise, options

SIDE = st.integers(4, 48)
SHARE = st.floats(0, 1, exclude_max=True)


def rasterised(corners: NDArray[Any], height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) pixels whose middle lies in a box of shares (left, top, right, bottom)."""
    left, top, right, bottom = corners
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return ((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))


def moved_box(source: NDArray[Any], box: NDArray[Any], place: Geometry) -> NDArray[np.bool_]:
    """Transform, then rasterise."""
    result = transform.boxes(box[None].astype(np.float64), ["thing"], place)
    assert len(result.corners) == len(result.names) <= 1
    return rasterised(result.corners[0], *place.size) if len(result.corners) else np.zeros(place.size, dtype=bool)


def moved_image(source: NDArray[Any], box: NDArray[Any], place: Geometry) -> NDArray[np.bool_]:
    return transform.image(np.repeat(source[..., None].astype(np.uint8) * 255, 3, axis=2), place)[..., 1] > 127


def moved_deep_image(source: NDArray[Any], box: NDArray[Any], place: Geometry) -> NDArray[np.bool_]:
    return transform.image(source[..., None].astype(np.uint16) * np.uint16(65535), place)[..., 0] > 32767


def moved_classes(source: NDArray[Any], box: NDArray[Any], place: Geometry) -> NDArray[np.bool_]:
    result = transform.labels(np.where(source, 7, 0), place)
    assert set(np.unique(result)) <= {0, 7}, "a class that was in no pixel"
    return result == 7


def moved_mask(source: NDArray[Any], box: NDArray[Any], place: Geometry) -> NDArray[np.bool_]:
    result = transform.labels(source, place)
    assert result.dtype == bool
    return result


def moved_amounts(source: NDArray[Any], box: NDArray[Any], place: Geometry) -> NDArray[np.bool_]:
    result = transform.amounts(np.stack([~source, source], axis=2).astype(np.float64), place)
    assert result.dtype == np.float32
    assert result.shape == (*place.size, 2)
    return result[..., 1] > 0.5


KINDS: dict[str, Callable[[NDArray[Any], NDArray[Any], Geometry], NDArray[np.bool_]]] = {
    "boxes": moved_box,
    "image": moved_image,
    "16-bit image": moved_deep_image,
    "classes": moved_classes,
    "mask": moved_mask,
    "amounts": moved_amounts,
}


EXACT = {"boxes", "classes", "mask"}
"""Kinds without a ramp at their edges."""


def expected(box: NDArray[Any], place: Geometry, exact: bool) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rasterised from the definition, pixel by pixel: (inside the box, at its edge).

    The middle of each pixel of the sample is taken back to the source: mirrored, moved, scaled. An image's edge is a
    ramp as wide as a pixel of the coarser of the two grids.
    """
    height, width = place.size
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    x = width - x if place.flip else x
    (top, left), (inner_height, inner_width) = place.corner, place.inner
    step_x = (place.part[2] - place.part[0]) / inner_width
    step_y = (place.part[3] - place.part[1]) / inner_height
    at = np.stack([place.part[0] + (x - left) * step_x, place.part[1] + (y - top) * step_y])
    shown = (x > left) & (x < left + inner_width) & (y > top) & (y < top + inner_height)
    slack = np.full(2, 1e-4) if exact else np.maximum([step_x, step_y], 1)

    def within(by: NDArray[Any]) -> NDArray[np.bool_]:
        return ((at > (box[:2] - by)[:, None, None]) & (at < (box[2:] + by)[:, None, None])).all(axis=0)

    return within(np.zeros(2)) & shown, within(slack) & ~within(-slack)


def wrong(kind: str, box: NDArray[Any], place: Geometry, used: Geometry | None = None) -> int:
    """Pixels away from an edge where a kind of thing is not where `place` says; it is moved by `used`."""
    height, width = place.source
    source = rasterised(box / np.array([width, height, width, height]), height, width)
    inside, edge = expected(box, place, kind in EXACT)
    return int(((KINDS[kind](source, box, used or place) != inside) & ~edge).sum())


@settings(max_examples=150, deadline=None)
@given(
    source=st.tuples(SIDE, SIDE),
    size=st.tuples(SIDE, SIDE),
    crop=st.sampled_from(["center", "random", "pad"]),
    cut=st.tuples(SHARE, SHARE),
    flip=st.booleans(),
    corners=st.tuples(SHARE, SHARE, SHARE, SHARE),
)
@example((20, 40), (20, 20), "random", (0.99, 0.5), True, (0.6, 0.1, 0.9, 0.6))
@example((40, 20), (24, 24), "pad", (0.5, 0.5), True, (0.0, 0.0, 0.4, 0.5))
def test_transform_then_rasterise_is_rasterise_then_transform(
    source: tuple[int, int],
    size: tuple[int, int],
    crop: str,
    cut: tuple[float, float],
    flip: bool,
    corners: tuple[float, ...],
) -> None:
    """Whatever the sizes, the crop, the padding and the mirroring: image, boxes, maps and arrays lie on each other."""
    height, width = source
    left, top = int(corners[0] * width), int(corners[1] * height)
    right, bottom = left + 1 + int(corners[2] * (width - left)), top + 1 + int(corners[3] * (height - top))
    box = np.array([left, top, min(right, width), min(bottom, height)])
    o = options(size=size, crop=crop)
    place = transform.geometry(height, width, o, Crop(*cut) if crop == "random" else transform.MIDDLE, flip)
    assert {kind: wrong(kind, box, place) for kind in KINDS} == dict.fromkeys(KINDS, 0)


FORGOTTEN: dict[str, Callable[[Geometry], Geometry]] = {
    "the flip": lambda place: replace(place, flip=False),
    "the crop": lambda place: replace(place, part=(0, 0, place.source[1], place.source[0])),
    "where the crop lies": lambda place: replace(place, part=(0, 0, 32, 32)),
}


@pytest.mark.parametrize("forgotten", FORGOTTEN)
@pytest.mark.parametrize("kind", KINDS)
def test_the_comparison_sees_what_is_forgotten_for_one_kind(kind: str, forgotten: str) -> None:
    """A comparison that holds whatever is done to one of them would show nothing."""
    place = transform.geometry(32, 64, options(size=16, crop="random"), Crop(0.8, 0.5), flip=True)
    box = np.array([40, 4, 50, 22])
    assert wrong(kind, box, place) == 0
    assert wrong(kind, box, place, FORGOTTEN[forgotten](place)) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_the_comparison_sees_forgotten_padding(kind: str) -> None:
    """Stretched over the padding, everything is too wide."""
    place = transform.geometry(32, 64, options(size=32, crop="pad"))
    box = np.array([4, 2, 30, 26])
    assert wrong(kind, box, place) == 0
    assert wrong(kind, box, place, replace(place, inner=place.size, corner=(0, 0))) > 10


def test_boxes_are_shares_clipped_to_the_sample_and_lost_ones_take_their_names() -> None:
    """Left and right halves of a landscape, cut to a square: numbers worked out by hand."""
    place = transform.geometry(10, 20, options(size=10, crop="random"), Crop(0.0, 0.0))
    corners = np.array([[2, 1, 6, 5], [8, 0, 20, 10], [10, 0, 20, 10], [3, 3, 3, 9], [-5, -5, 1, 50]], dtype=np.float64)
    result = transform.boxes(corners, ["a", "b", "lost", "line", "c"], place)
    assert result.names == ("a", "b", "c")
    np.testing.assert_allclose(result.corners, [[0.2, 0.1, 0.6, 0.5], [0.8, 0, 1, 1], [0, 0, 0.1, 1]], atol=1e-7)
    assert result.corners.dtype == np.float32
    mirrored = transform.boxes(corners, ["a", "b", "lost", "line", "c"], replace(place, flip=True))
    np.testing.assert_allclose(mirrored.corners, [[0.4, 0.1, 0.8, 0.5], [0, 0, 0.2, 1], [0.9, 0, 1, 1]], atol=1e-7)
    padded = transform.geometry(10, 20, options(size=20, crop="pad"))
    np.testing.assert_allclose(transform.boxes(corners[1:2], ["b"], padded).corners, [[0.4, 0.25, 1, 0.75]], atol=1e-7)
    assert transform.boxes(np.zeros((0, 4)), [], place).corners.shape == (0, 4)


@pytest.mark.parametrize("crop", ["center", "random", "pad"])
def test_no_number_changes_where_no_resize_is_needed(crop: str) -> None:
    """Class numbers, and heights in metres, come through as they are in the file."""
    place = transform.geometry(12, 9, options(size=(12, 9), crop=crop), flip=True)
    classes = noise(12, 9, 1, 16)[..., 0].astype(np.int64) * 1000
    np.testing.assert_array_equal(transform.labels(classes, place), classes[:, ::-1])
    heights = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32) * 1000
    np.testing.assert_array_equal(transform.amounts(heights, place), heights[:, ::-1])


def test_amounts_stay_within_what_was_there() -> None:
    """Lanczos rings at an edge: a depth behind the wall, or below 0, that was nowhere measured."""
    step = np.where(np.arange(40) < 20, 2.0, 900.0)[None].repeat(40, axis=0)
    for size in (16, 90):
        result = transform.amounts(step, transform.geometry(40, 40, options(size=size)))
        assert result.min() >= 2 - 1e-3
        assert result.max() <= 900 + 1e-3
    padded = transform.amounts(step[:20], transform.geometry(20, 40, options(size=40, crop="pad")))
    assert (padded[:10] == 0).all()
    assert (padded[10:30] >= 2).all()
