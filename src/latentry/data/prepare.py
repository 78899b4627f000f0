"""A decoded picture to the channels and depth of the options, without losing what need not be lost."""

from __future__ import annotations

import numpy as np

from latentry.data.files.header import Array, Header
from latentry.data.options import DataOptions


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
    """Unassociated `colour` (H, W, C) of `alpha` (H, W, 1), 8 or 16 bit, or float in [0, 1], over an 8-bit `background`
    (C values)."""
    if colour.dtype.kind == "f":
        return alpha * colour + (1 - alpha) * (np.array(background, dtype=np.float32) / np.float32(255))
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
