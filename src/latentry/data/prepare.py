"""A decoded picture to the asked channels and size, without losing what need not be lost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from latentry.data.header import Array, Header
from latentry.data.options import DataOptions


class Crop(NamedTuple):
    """Where the cut lies along the surplus: 0 = left or top, 1 = right or bottom."""

    x: float = 0.5
    y: float = 0.5


MIDDLE = Crop()


def mismatch(header: Header, options: DataOptions) -> str | None:
    """Why a file's channels cannot become `options.channels`, or None if they can. Bands are never cut."""
    want, have = options.channels, header.channels
    colours = have - header.alpha
    if have == want or (have == 1 and want == 3):
        return None
    if header.alpha and colours in (want, 1 if want == 3 else want):
        return None if options.colour else f"{have} channels with transparency and no data.background"
    return f"{have} channels"


def fit_channels(array: Array, header: Header, options: DataOptions) -> Array:
    """(H, W, C) to options.channels: alpha composited over the background, gray repeated to three channels.

    Compositing is a*c + (1-a)*b in whole numbers at the picture's own depth, rounded once to nearest.
    """
    want = options.channels
    if array.shape[2] == want:
        return array
    if header.alpha and options.colour is not None:
        colour, alpha = array[..., :-1], array[..., -1:]
        if colour.shape[2] == 1 and want == 3:
            colour = np.repeat(colour, 3, axis=2)
        array = composite(colour, alpha, options.colour[:want])
    if array.shape[2] == 1 and want == 3:
        array = np.repeat(array, 3, axis=2)
    return array


def composite(colour: Array, alpha: Array, background: tuple[int, ...]) -> Array:
    """Unassociated `colour` (H, W, C) of `alpha` (H, W, 1), 8 or 16 bit, over an 8-bit `background` (C values)."""
    top = np.uint32(np.iinfo(colour.dtype).max)
    behind = np.array(background, dtype=np.uint32) * (top // np.uint32(255))
    share = alpha.astype(np.uint32)
    mixed = share * colour + (top - share) * behind  # at most 65535 squared, which leaves room for half of 65535
    return np.asarray((mixed + top // np.uint32(2)) // top).astype(colour.dtype)


def to_depth(array: Array, depth: int) -> Array:
    """To uint8 or uint16; 8 to 16 bits is exact (times 257), the other way rounds to nearest."""
    if array.dtype == np.float32:
        return np.rint(array.astype(np.float64) * (2**depth - 1)).astype(np.uint8 if depth == 8 else np.uint16)
    if array.dtype.itemsize * 8 == depth:
        return array
    if depth == 16:
        return array.astype(np.uint16) * np.uint16(257)
    return np.rint(array.astype(np.float64) / 257).astype(np.uint8)


def enlargement(height: int, width: int, options: DataOptions) -> float:
    """How many times a picture's pixels are stretched to reach the size."""
    to_height, to_width = options.height_width
    return float((min if options.crop == "pad" else max)(to_height / height, to_width / width))


def fit_size(array: Array, options: DataOptions, crop: Crop = MIDDLE, alpha: bool = False) -> Array:
    """Resize (H, W, C) with antialiasing and cut or pad to the size. No pixel is changed where no resize is needed."""
    if alpha and enlargement(array.shape[0], array.shape[1], options) != 1:
        return _premultiplied_fit(array, options, crop)
    return _pad(array, options) if options.crop == "pad" else _cover(array, options, crop)


def _cover(array: Array, options: DataOptions, crop: Crop) -> Array:
    height, width = options.height_width
    full_height, full_width = array.shape[:2]
    scale = max(height / full_height, width / full_width)
    if scale == 1:
        top = min(int(crop.y * (full_height - height + 1)), full_height - height)
        left = min(int(crop.x * (full_width - width + 1)), full_width - width)
        return array[top : top + height, left : left + width]
    used_height, used_width = min(height / scale, full_height), min(width / scale, full_width)
    top_edge, left_edge = crop.y * (full_height - used_height), crop.x * (full_width - used_width)
    return resize(array, height, width, (left_edge, top_edge, left_edge + used_width, top_edge + used_height))


def _pad(array: Array, options: DataOptions) -> Array:
    height, width = options.height_width
    scale = min(height / array.shape[0], width / array.shape[1])
    inner_height, inner_width = (max(1, min(round(n * scale), m)) for n, m in zip(array.shape, (height, width)))
    inner = resize(array, inner_height, inner_width)
    colour = options.colour or (0, 0, 0)
    channels = array.shape[2]
    top = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max)
    row = [colour[c] if channels in (1, 3) else colour[0] for c in range(channels)]
    fill = np.rint(np.array(row) / 255 * top) if array.dtype.kind == "u" else np.array(row) / 255
    out = np.broadcast_to(fill.astype(array.dtype), (height, width, channels)).copy()
    y, x = (height - inner_height) // 2, (width - inner_width) // 2
    out[y : y + inner_height, x : x + inner_width] = inner
    return out


def resize(array: Array, height: int, width: int, box: tuple[float, float, float, float] | None = None) -> Array:
    """Lanczos with the filter widened when shrinking; 8-bit pictures in 8 bits, others in float32, rounded once."""
    if box is None and array.shape[:2] == (height, width):
        return array
    if array.dtype == np.uint8 and array.shape[2] in (1, 3):
        image = Image.fromarray(np.ascontiguousarray(array if array.shape[2] == 3 else array[..., 0]))
        out = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, box))
        return out.reshape(height, width, array.shape[2])
    bands = []
    for band in np.moveaxis(array, -1, 0):
        image = Image.fromarray(np.ascontiguousarray(band, dtype=np.float32))
        bands.append(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, box)))
    values = np.stack(bands, axis=-1)
    if array.dtype.kind == "f":
        return values.clip(0, 1)
    return np.rint(values.clip(0, np.iinfo(array.dtype).max)).astype(array.dtype)


def _premultiplied_fit(array: Array, options: DataOptions, crop: Crop) -> Array:
    """Kept transparency: the colour under clear pixels must not bleed into its neighbours."""
    top = float(np.iinfo(array.dtype).max)
    values = array.astype(np.float32) / np.float32(top)
    colour, alpha = values[..., :-1], values[..., -1:]
    bare = options.model_copy(update={"background": None})
    fitted = fit_size(np.concatenate([colour * alpha, alpha], axis=2), bare, crop)
    share = fitted[..., -1:]
    colour = np.divide(fitted[..., :-1], share, out=np.zeros_like(fitted[..., :-1]), where=share > 0)
    return np.rint(np.concatenate([colour, share], axis=2).clip(0, 1) * top).astype(array.dtype)
