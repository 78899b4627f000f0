"""What an image file is, as far as its first bytes tell, and the one error for a file that cannot be used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentry.data.files.limits import PIXEL_LIMIT as PIXEL_LIMIT
from latentry.data.files.limits import Limits
from latentry.errors import LatentryError
from latentry.text import one_line

Array = NDArray[Any]


class BadImage(LatentryError):
    """One file cannot be used; `reason` says why, without the path."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path, self.reason = os.fspath(path), reason
        super().__init__(f"{shown(self.path)}: {reason}")

    def __reduce__(self) -> tuple[type[BadImage], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class BadValues(BadImage):
    """The file can be decoded, but its values have no range that they could be shown in without being named."""


@dataclass(frozen=True)
class Header:
    """Facts known before decoding.

    width, height: pixels, upright (EXIF orientation applied). channels: what `images.decode` gives. depth: bits of a
    decoded value, 8, 16 or 32. alpha: the last channel is transparency. frames: pictures in the file; one is used.
    dtype: what `images.decode` gives, as numpy names it: uint8, uint16, uint32, int8, int16, int32 or float32.
    bits: how many of a value the file says that it uses, where it says so (12 in a 16-bit array). no_data: the value
    that the file has where nothing was measured. stack: what is said of its pages, where it has several.
    window: the range of values in which the file asks to be shown (DICOM).
    """

    width: int
    height: int
    channels: int
    depth: int
    format: str
    alpha: bool = False
    orientation: int = 1
    frames: int = 1
    cmyk: bool = False
    palette: bool = False
    dtype: str = "uint8"
    bits: int | None = None
    no_data: float | None = None
    stack: tuple[str, ...] = ()
    window: tuple[float, float] | None = None

    @property
    def plain(self) -> bool:
        """Whether values have a range of their own: 0 to the largest number of 8 or 16 bits."""
        return self.dtype in ("uint8", "uint16")

    @property
    def notes(self) -> tuple[str, ...]:
        """Peculiarities that do not stop the file from being used, in words."""
        notes = []
        if self.cmyk:
            notes.append("CMYK: converted to RGB without a colour profile")
        if self.palette and self.alpha:
            notes.append("palette with transparency: composited like any alpha")
        if self.orientation > 1:
            notes.append(f"EXIF-rotated (orientation {self.orientation}): turned upright")
        notes += self.stack
        if self.frames > 1 and not self.stack:
            notes.append(f"animated or several pages ({self.frames}): only the first is used")
        return tuple(notes)


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """(width, height) after `upright`."""
    return (height, width) if orientation >= 5 else (width, height)


def upright(array: Array, orientation: int) -> Array:
    """Undo an EXIF orientation (1 to 8) of an (H, W, C) array."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 7, 6):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def check_size(path: str | os.PathLike[str], width: int, height: int, pixel_bytes: int, limits: Limits) -> None:
    """Refuse a picture whose header promises more than the limits, before anything is decoded.

    pixel_bytes: what the values of one pixel take once decoded.
    """
    if width < 1 or height < 1:
        raise BadImage(path, f"the header says {height}x{width} pixels")
    if width * height > limits.pixels:
        raise BadImage(
            path, f"{height}x{width} is {width * height} pixels, more than data.pixel_limit = {limits.pixels}"
        )
    size = width * height * pixel_bytes
    if size > limits.bytes:
        what = f"{height}x{width} pixels of {pixel_bytes} bytes are {size} bytes decoded"
        raise BadImage(path, f"{what}, more than data.byte_limit = {limits.bytes}")


def shown(path: str) -> str:
    """A path as text that can be printed, whatever its bytes."""
    return one_line(path)
