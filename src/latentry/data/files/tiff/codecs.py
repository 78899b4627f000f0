"""Compressed bytes of one strip or tile to as many bytes as its pixels take, and never more.

Deflate and LZMA stop by themselves after so many bytes. LZW, zstd and packbits are decoded by the libtiff inside
Pillow: the bytes are handed to it as a picture of one grey byte a pixel and one row, whose size it keeps to.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, features

from latentry.data.files.formats.parts import array_of
from latentry.data.files.header import Array


class NeedsCodec(ValueError):
    """A compression that only imagecodecs decodes, which is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} requires the 'imagecodecs' package")


class Damaged(ValueError):
    """The bytes are not what the compression says."""


def _inflate(data: bytes, size: int) -> bytes:
    return zlib.decompressobj().decompress(data, size)


def _lzma(data: bytes, size: int) -> bytes:
    limit = 2**28 + 2 * len(data)  # a dictionary of LZMA takes memory too, before the first byte comes out
    return lzma.LZMADecompressor(memlimit=limit).decompress(data, size)


def _by_libtiff(compression: int) -> Callable[[bytes, int], bytes]:
    def decode(data: bytes, size: int) -> bytes:
        picture = wrapped({256: size, 257: 1, 258: 8, 259: compression, 262: 1, 277: 1, 278: 1}, [data])
        return bytes(pixels_of(picture).reshape(-1))

    return decode


BYTES: Mapping[int, Callable[[bytes, int], bytes]] = {
    1: lambda data, size: data[:size],
    5: _by_libtiff(5),
    8: _inflate,
    32773: _by_libtiff(32773),
    32946: _inflate,
    34925: _lzma,
    50000: _by_libtiff(50000),
}
"""By the number of a TIFF's compression."""


def decoded(compression: int, data: bytes, size: int) -> bytes:
    """`size` bytes. Raises `Damaged` where there are fewer."""
    try:
        out = BYTES[compression](data, size)
    except (zlib.error, lzma.LZMAError, EOFError, OSError, MemoryError) as error:
        raise Damaged("cannot be decompressed") from error
    if len(out) < size:
        raise Damaged(f"{len(out)} bytes of pixels where {size} belong")
    return out


def wrapped(numbers: Mapping[int, int | tuple[int, ...]], parts: list[bytes], order: str = "<") -> bytes:
    """A TIFF of one page around compressed parts as they are: numbers by tag; strips, or tiles where tag 322 is there.

    Tag 347 (tables of JPEG) and others of single bytes are given as tuples.
    """
    tiled = 322 in numbers
    starts, counts = (324, 325) if tiled else (273, 279)
    tags = {code: value if isinstance(value, tuple) else (value,) for code, value in numbers.items()}
    tags |= {starts: (0,) * len(parts), counts: tuple(len(part) for part in parts)}
    at = 8 + 2 + 12 * len(tags) + 4
    places = {}
    for code, values in sorted(tags.items()):
        size = len(values) * _type_of(code)[2]
        if size > 4:
            places[code] = at
            at += size + size % 2
    offsets = np.cumsum([0, *(len(part) for part in parts)])[:-1] + at
    tags[starts] = tuple(int(n) for n in offsets)
    entries, values_behind = b"", b""
    for code, values in sorted(tags.items()):
        kind, letter, _ = _type_of(code)
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        inline = struct.pack(f"{order}I", places[code]) if code in places else packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", code, kind, len(values)) + inline
        values_behind += packed + b"\0" * (len(packed) % 2) if code in places else b""
    magic = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    head = magic + struct.pack(f"{order}H", len(tags)) + entries + b"\0" * 4 + values_behind
    return head + b"".join(parts)


def _type_of(code: int) -> tuple[int, str, int]:
    """TIFF's number of a tag's type, the letter of `struct`, the bytes of a value."""
    if code == 347:
        return 7, "B", 1
    return (3, "H", 2) if code in (258, 259, 262, 266, 277, 338, 530) else (4, "I", 4)


def pixels_of(picture: bytes, formats: tuple[str, ...] = ("TIFF",), size: tuple[int, int] | None = None) -> Array:
    """Decode by Pillow. size: (width, height) that the picture must have, checked before it is decoded.

    Raises `NeedsCodec` where this Pillow is built without libtiff, `Damaged` for what it cannot decode.
    """
    if formats == ("TIFF",) and not features.check("libtiff"):
        raise NeedsCodec("this TIFF compression")
    try:
        with Image.open(io.BytesIO(picture), formats=formats) as image:
            if size is not None and image.size != size:
                raise Damaged(f"a tile of {image.height}x{image.width} pixels where {size[1]}x{size[0]} belong")
            image.load()
            return array_of(image, "RGB" if image.mode == "YCbCr" else None)
    except Damaged:
        raise
    except Exception as error:
        raise Damaged("cannot be decompressed") from error
