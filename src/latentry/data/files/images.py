"""One image file to an array and back. The kind of a file is recognised by its content, never by its name."""

from __future__ import annotations

import os
import re

from latentry.data.files import dicom, npy, pillow, tiff
from latentry.data.files.failures import reasons, start_of
from latentry.data.files.header import Array, BadImage, Header
from latentry.data.files.limits import BYTE_LIMIT, PIXEL_LIMIT, Limits, limits_of
from latentry.data.files.saving import save
from latentry.data.files.values import in_own_range

__all__ = ["BYTE_LIMIT", "PIXEL_LIMIT", "BadImage", "Header", "decode", "header", "picture", "read", "save"]
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy", ".dcm", ".dicom")
STACKS = (".tif", ".tiff", ".npy", ".dcm", ".dicom")
"""Files of these kinds may hold several images."""
_NUMBERED = re.compile(
    rf"(.*(?:{'|'.join(re.escape(suffix) for suffix in STACKS)}))#(\d{{1,9}})", re.IGNORECASE | re.DOTALL
)


def file_of(path: str) -> tuple[str, int]:
    """The file and the number of the image in it that a path names: `stack.tif#3` is the fourth of `stack.tif`."""
    found = _NUMBERED.fullmatch(path) if "#" in path else None
    return (found.group(1), int(found.group(2))) if found and not os.path.lexists(path) else (path, 0)


def stack_file(path: str) -> str:
    """The file of a path that may name an image in it, without a look at the disk."""
    found = _NUMBERED.fullmatch(path) if "#" in path else None
    return found.group(1) if found else path


def header(path: str | os.PathLike[str], limit: int | Limits = PIXEL_LIMIT) -> Header:
    """Read only the header. Raises `BadImage` for anything that is not a usable picture or is over the limits."""
    limits = limits_of(limit)
    name = os.fspath(path)
    path, index = file_of(name)
    with reasons(path, limits, name):
        start = start_of(path)
        if start[:4] in tiff.MAGIC:
            return tiff.header(path, limits, index)
        if start.startswith(npy.MAGIC):
            return npy.header(path, limits, index)
        if dicom.is_dicom(start):
            return dicom.header(path, limits, index)
        if start[8:12] == b"WEBP":
            pillow.check_webp(path, start, limits)
        return pillow.header(path, limits)


def read(path: str | os.PathLike[str], limit: int | Limits = PIXEL_LIMIT) -> Array:
    """Decode to (H, W, C) uint8, uint16, or float32 in [0, 1]; upright; palettes and CMYK as RGB(A); all bits kept.

    Raises `BadValues` for values without a range of their own: signed, 32-bit, or float that leaves 0..1.
    """
    return picture(path, limit)[1]


def picture(path: str | os.PathLike[str], limit: int | Limits = PIXEL_LIMIT) -> tuple[Header, Array]:
    """`header` and `read` in one."""
    facts, array = decode(path, limit)
    return facts, in_own_range(os.fspath(path), array)


def decode(path: str | os.PathLike[str], limit: int | Limits = PIXEL_LIMIT) -> tuple[Header, Array]:
    """The header and the file's own values, (H, W, C) of `Header.dtype`: signed stay signed, float is not checked."""
    limits = limits_of(limit)
    name = os.fspath(path)
    path, index = file_of(name)
    with reasons(path, limits, name):
        start = start_of(path)
        if start[:4] in tiff.MAGIC:
            return tiff.header(path, limits, index), _tiff(path, limits, index)
        if start.startswith(npy.MAGIC):
            return npy.header(path, limits, index), npy.read(path, limits, index)
        if dicom.is_dicom(start):
            return dicom.header(path, limits, index), dicom.read(path, limits, index)
        if start[8:12] == b"WEBP":
            pillow.check_webp(path, start, limits)
        return pillow.decode(path, limits)


def _tiff(path: str, limits: Limits, index: int) -> Array:
    try:
        return tiff.read(path, limits, index)
    except (ValueError, ImportError) as error:
        if "imagecodecs" not in str(error):
            raise
    raise BadImage(path, "this TIFF compression needs more codecs: pip install 'latentry[sci]', or save uncompressed")
