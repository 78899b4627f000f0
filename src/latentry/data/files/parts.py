"""A decoded picture of Pillow to an array. Pillow copies what it converts and what it gives: large ones go in parts."""

from __future__ import annotations

import numpy as np
from PIL import Image

from latentry.data.files.header import Array

_LARGE = 2**24
"""Bytes that may be copied at once."""


def array_of(image: Image.Image, mode: str | None = None) -> Array:
    """(H, W, C) of a loaded picture, converted to `mode` if one is named; uint16 where that holds 16 bits."""
    width, height = image.size
    if width * height * 4 <= _LARGE:
        return _part(image, mode)
    first = _part(image.crop((0, 0, width, 1)), mode)
    out = np.empty((height, *first.shape[1:]), first.dtype)
    step = max(1, _LARGE // (4 * width * first.shape[2]))
    for top in range(0, height, step):
        bottom = min(top + step, height)
        out[top:bottom] = _part(image.crop((0, top, width, bottom)), mode)
    return out


def _part(image: Image.Image, mode: str | None) -> Array:
    pixels = np.asarray(image if mode is None else image.convert(mode))
    if image.mode.startswith("I;16"):
        pixels = pixels.astype(np.uint16)
    return pixels.reshape(image.height, image.width, -1)
