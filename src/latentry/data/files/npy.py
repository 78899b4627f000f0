"""Arrays saved by numpy as images: (H, W) or (H, W, C); of (N, H, W, C) each is one of a stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latentry.data.files.header import Array, BadImage, Header, check_size
from latentry.data.files.limits import Limits

MAGIC = b"\x93NUMPY"
_DTYPES = {
    "b1": "uint8",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "f2": "float32",
    "f4": "float32",
    "f8": "float32",
}


def header(path: str, limits: Limits, index: int = 0) -> Header:
    """Facts of one image of a file. Raises `BadImage` for other shapes and types."""
    return _facts(path, _mapped(path), limits, index)


def read(path: str, limits: Limits, index: int = 0) -> Array:
    """(H, W, C) of the header's dtype; truth values as 0 and 255."""
    stored = _mapped(path)
    facts = _facts(path, stored, limits, index)
    if stored.ndim == 4:
        stored = np.concatenate(list(stored), axis=-1) if limits.pages == "bands" else stored[index]
    array = np.array(stored, dtype=facts.dtype, order="C").reshape(facts.height, facts.width, facts.channels)
    return array * np.uint8(255) if stored.dtype.kind == "b" else array


def _mapped(path: str) -> Array:
    stored: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if stored.size * stored.dtype.itemsize > Path(path).stat().st_size:
        raise BadImage(path, "damaged: truncated")
    return stored


def _facts(path: str, stored: Array, limits: Limits, index: int) -> Header:
    dtype = _DTYPES.get(stored.dtype.str[1:])
    if dtype is None:
        accepted = "bool, 8, 16 and 32 bits, float"
        raise BadImage(path, f"an array of {stored.dtype}; images are {accepted}. Save it as such, without loss")
    if stored.ndim not in (2, 3, 4) or not stored.size:
        raise BadImage(path, f"an array of shape {stored.shape}; images are (H, W), (H, W, C) or (N, H, W, C)")
    frames = len(stored) if stored.ndim == 4 else 1
    height, width, channels = (*stored.shape[stored.ndim == 4 :], 1)[:3]
    notes = _notes(stored.shape, frames, limits)
    if limits.pages == "bands":
        channels, frames = channels * frames, 1
    if index >= frames:
        raise BadImage(path, f"has {frames} images, not one of number {index}")
    size = np.dtype(dtype).itemsize
    check_size(path, width, height, channels * max(size, stored.dtype.itemsize), limits)
    return Header(width, height, channels, 8 * size, "NPY", frames=frames, dtype=dtype, stack=notes)


def _notes(shape: tuple[int, ...], frames: int, limits: Limits) -> tuple[str, ...]:
    if frames > 1:
        taken = {"each": "each used", "bands": "read as bands of one"}
        return (
            f"{frames} images: "
            + taken.get(limits.pages, "only the first is used; data.pages: each or bands takes all"),
        )
    if len(shape) == 3 and shape[0] <= 4 < shape[2]:
        return (f"shape {shape} is read as {shape[0]} rows and {shape[2]} bands; save (H, W, C) if bands come first",)
    return ()
