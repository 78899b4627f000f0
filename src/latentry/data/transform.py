"""One spatial transform for everything a sample holds: image, boxes, maps, masks and arrays move alike.

Where a part of the source goes is worked out once, as a `Geometry`; each function here applies it to one kind of thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentry.data.files.header import Array
from latentry.data.options import DataOptions
from latentry.data.sample import Boxes

_LEAST = 1e-6
"""A box of less than this share of the sample's side has no area: what rounding leaves of one that was cut away."""


class Crop(NamedTuple):
    """Where the cut lies along the surplus: 0 = left or top, 1 = right or bottom."""

    x: float = 0.5
    y: float = 0.5


MIDDLE = Crop()


@dataclass(frozen=True)
class Geometry:
    """Where a part of a source lies in the sample made of it.

    source: (height, width) of the upright source in pixels. part: (left, top, right, bottom) of what is kept of it, in
    its pixels, whole numbers where nothing is resized. inner: (height, width) of that part in the sample. corner:
    (top, left) of that part in the sample; around it is padding. size: (height, width) of the sample. scale: how many
    times pixels are stretched. flip: the sample is mirrored at the end, left to right.
    """

    source: tuple[int, int]
    part: tuple[float, float, float, float]
    inner: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]
    scale: float
    flip: bool = False


def enlargement(height: int, width: int, options: DataOptions) -> float:
    """How many times a picture's pixels are stretched to reach the size."""
    to_height, to_width = options.height_width
    return float((min if options.crop == "pad" else max)(to_height / height, to_width / width))


def geometry(height: int, width: int, options: DataOptions, crop: Crop = MIDDLE, flip: bool = False) -> Geometry:
    """What `options` make of a source of this size: cover the sample and cut, or pad to it."""
    scale = enlargement(height, width, options)
    to_height, to_width = size = options.height_width
    if options.crop == "pad":
        inner = max(1, min(round(height * scale), to_height)), max(1, min(round(width * scale), to_width))
        corner = (to_height - inner[0]) // 2, (to_width - inner[1]) // 2
        return Geometry((height, width), (0, 0, width, height), inner, corner, size, scale, flip)
    if scale == 1:
        top = min(int(crop.y * (height - to_height + 1)), height - to_height)
        left = min(int(crop.x * (width - to_width + 1)), width - to_width)
        return Geometry((height, width), (left, top, left + to_width, top + to_height), size, (0, 0), size, scale, flip)
    used_height, used_width = min(to_height / scale, height), min(to_width / scale, width)
    top_edge, left_edge = crop.y * (height - used_height), crop.x * (width - used_width)
    part = (left_edge, top_edge, left_edge + used_width, top_edge + used_height)
    return Geometry((height, width), part, size, (0, 0), size, scale, flip)


def mirrored(array: Array, flip: bool) -> Array:
    """(H, W, ...) left to right if `flip`."""
    return array[:, ::-1] if flip else array


def image(array: Array, geometry: Geometry, colour: tuple[int, int, int] | None = None, alpha: bool = False) -> Array:
    """(H, W, C) uint8, uint16 or float32 in [0, 1] as in the sample.

    Lanczos, widened when shrinking; no pixel is changed where no resize is needed. colour: of the padding, 8 bit; black
    if None. alpha: the last channel is transparency that is kept.
    """
    fitted = _premultiplied(array, geometry) if alpha and geometry.scale != 1 else _fitted(array, geometry, colour)
    return mirrored(fitted, geometry.flip)


def labels(array: Array, geometry: Geometry) -> Array:
    """(H, W, ...) of class numbers, whole numbers or truth values as in the sample: the nearest source pixel's value.

    Padding is 0. Nothing is mixed, so no number appears that was not there.
    """
    left, top, right, bottom = geometry.part
    rows = _nearest(top, bottom, geometry.inner[0], geometry.source[0])
    columns = _nearest(left, right, geometry.inner[1], geometry.source[1])
    return mirrored(_padded(array[rows[:, None], columns], geometry, array.dtype.type(0)), geometry.flip)


def amounts(array: Array, geometry: Geometry) -> NDArray[np.float32]:
    """(H, W, ...) of float numbers as in the sample, in float32: bilinear, widened when shrinking. Padding is 0.

    Not the image's Lanczos, which overshoots at edges: of heights or depths that would be values that were not there.
    """
    height, width = geometry.source
    bands = np.moveaxis(array.reshape(height, width, -1), -1, 0)
    resized = [_resized_band(band, geometry, Image.Resampling.BILINEAR) for band in bands]
    inner = np.stack(resized, axis=-1).reshape(*geometry.inner, *array.shape[2:])
    return mirrored(_padded(inner, geometry, np.float32(0)), geometry.flip)


def boxes(corners: NDArray[np.float64], names: Sequence[str], geometry: Geometry) -> Boxes:
    """Boxes as in the sample. corners: (N, 4) left, top, right, bottom in pixels of the upright source.

    They are clipped to what is kept of the source; one of which nothing is left goes with its name.
    """
    start, end = np.array(geometry.part[:2]), np.array(geometry.part[2:])  # each x, y
    inner, corner, size = (
        np.array(pair[::-1]) for pair in (geometry.inner, geometry.corner, geometry.size)
    )  # each x, y
    points = (corners.reshape(-1, 2, 2) - start) * (inner / (end - start))  # (N, 2 corners, 2: x, y)
    shares = (np.clip(points, 0, inner) + corner) / size
    if geometry.flip:
        shares[..., 0] = 1 - shares[:, ::-1, 0]
    kept = (shares[:, 1] - shares[:, 0] > _LEAST).all(axis=1)
    left = shares[kept].reshape(-1, 4).astype(np.float32)
    return Boxes(left, tuple(name for name, keep in zip(names, kept, strict=True) if keep))


def _nearest(start: float, end: float, count: int, limit: int) -> NDArray[np.int64]:
    """The source pixel under the centre of each of `count` pixels from `start` to `end`."""
    middles = start + (np.arange(count) + 0.5) * ((end - start) / count)
    return np.floor(middles).astype(np.int64).clip(0, limit - 1)


def _padded(inner: Array, geometry: Geometry, fill: Array | np.generic) -> Array:
    if geometry.inner == geometry.size:
        return inner
    out = np.broadcast_to(fill, (*geometry.size, *inner.shape[2:])).astype(inner.dtype)
    y, x = geometry.corner
    out[y : y + geometry.inner[0], x : x + geometry.inner[1]] = inner
    return out


def _whole(geometry: Geometry) -> tuple[slice, slice] | None:
    """Rows and columns of the part where nothing is to be resized."""
    left, top, right, bottom = geometry.part
    if (bottom - top, right - left) != geometry.inner:
        return None
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _resized(array: Array, geometry: Geometry) -> Array:
    """8-bit pictures in 8 bits, others in float32, rounded once."""
    cut = _whole(geometry)
    if cut is not None:
        return array[cut]
    height, width = geometry.inner
    if array.dtype == np.uint8 and array.shape[2] in (1, 3):
        picture = Image.fromarray(np.ascontiguousarray(array if array.shape[2] == 3 else array[..., 0]))
        out = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS, geometry.part))
        return out.reshape(height, width, array.shape[2])
    bands = [_resized_band(band, geometry, Image.Resampling.LANCZOS) for band in np.moveaxis(array, -1, 0)]
    values = np.stack(bands, axis=-1)
    if array.dtype.kind == "f":
        return values.clip(0, 1)
    return np.rint(values.clip(0, np.iinfo(array.dtype).max)).astype(array.dtype)


def _resized_band(band: Array, geometry: Geometry, how: Image.Resampling) -> NDArray[np.float32]:
    """One (H, W) band in float32."""
    cut = _whole(geometry)
    if cut is not None:
        return band[cut].astype(np.float32)
    picture = Image.fromarray(np.ascontiguousarray(band, dtype=np.float32))
    return np.asarray(picture.resize(geometry.inner[::-1], how, geometry.part))


def _fitted(array: Array, geometry: Geometry, colour: tuple[int, int, int] | None) -> Array:
    inner = _resized(array, geometry)
    if geometry.inner == geometry.size:
        return inner
    channels = array.shape[2]
    behind = colour or (0, 0, 0)
    top = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max)
    row = [behind[c] if channels in (1, 3) else behind[0] for c in range(channels)]
    fill = np.rint(np.array(row) / 255 * top) if array.dtype.kind == "u" else np.array(row) / 255
    return _padded(inner, geometry, fill.astype(array.dtype))


def _premultiplied(array: Array, geometry: Geometry) -> Array:
    """Kept transparency: the colour under clear pixels must not bleed into its neighbours. Padding is clear."""
    top = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max)
    values = array.astype(np.float32) / np.float32(top)
    colour, alpha = values[..., :-1], values[..., -1:]
    fitted = _fitted(np.concatenate([colour * alpha, alpha], axis=2), geometry, None)
    share = fitted[..., -1:]
    colour = np.divide(fitted[..., :-1], share, out=np.zeros_like(fitted[..., :-1]), where=share > 0)
    whole = np.concatenate([colour, share], axis=2).clip(0, 1)
    return whole if array.dtype.kind == "f" else np.rint(whole * top).astype(array.dtype)
