"""Files that hold numbers for the pixels of an image: class maps and masks as image files, arrays as .npy."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentry.data.files import images, pillow
from latentry.data.files.failures import reasons
from latentry.data.files.header import Array, BadImage, upright
from latentry.data.files.limits import PIXEL_LIMIT, Limits, limits_of

_ACCEPTED = "save one number a pixel: a palette, grey or 1-bit PNG"
_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""Pillow stretches grey of 2 and 4 bits to 0..255; a class number is the value in the file."""


def read_classes(path: str | os.PathLike[str], limit: int | Limits = PIXEL_LIMIT) -> NDArray[np.int64]:
    """(H, W) class numbers of an image file: palette indices or grey values, never colours.

    Turned upright by its own EXIF orientation. Raises `BadImage` for a file with colours, or one that JPEG has changed.
    """
    path, limits = os.fspath(path), limits_of(limit)
    with reasons(path, limits):
        header = images.header(path, limits)
        if header.format == "TIFF" and not header.palette and header.depth <= 16 and header.channels == 1:
            return images.read(path, limits)[..., 0].astype(np.int64)
        with pillow.opened(path, limits) as image:
            if image.format in ("JPEG", "MPO"):
                raise BadImage(path, f"JPEG changes class numbers; {_ACCEPTED}")
            if image.mode not in ("1", "L", "P") and not image.mode.startswith("I;16"):
                raise BadImage(path, f"holds colours ({image.mode}), not class numbers; {_ACCEPTED}")
            tile = image.tile[0].args if getattr(image, "tile", None) else ""
            step = _GREY_STEPS.get(tile, 1) if isinstance(tile, str) and image.mode == "L" else 1
            turn = pillow.orientation_of(image)
            numbers = np.asarray(image).astype(np.int64) // step
            return upright(numbers[..., None], turn)[..., 0]


def read_array(path: str | os.PathLike[str], limit: int | Limits = PIXEL_LIMIT) -> Array:
    """The array of a .npy file; nothing in it is ever run.

    Raises `BadImage` for anything but finite numbers and truth values, and for more than `limit` of them.
    """
    path, limits = os.fspath(path), limits_of(limit)
    with reasons(path, limits):
        with Path(path).open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise BadImage(path, "not a .npy file; save it by numpy.save")
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.dtype.kind not in "biuf":
            raise BadImage(path, f"holds {mapped.dtype}; whole or floating-point numbers or truth values are read")
        if mapped.size > limits.pixels:
            raise BadImage(path, f"{mapped.size} numbers, more than data.pixel_limit = {limits.pixels}")
        array = np.array(mapped)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadImage(path, f"{int((~np.isfinite(array)).sum())} values are not finite (NaN or infinity)")
        return array.astype(array.dtype.newbyteorder("="))
