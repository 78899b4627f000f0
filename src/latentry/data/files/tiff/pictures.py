"""Pages whose strips or tiles are pictures of their own: JPEG, fax, WebP, JPEG 2000."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentry.data.files.formats.pillow import webp_size
from latentry.data.files.quiet import quiet
from latentry.data.files.tiff.codecs import Damaged, NeedsCodec, pixels_of, wrapped
from latentry.data.files.tiff.layout import Place, extents, places, stored_bytes
from latentry.data.files.tiff.page import BLACK_IS_ZERO, RGB, SEPARATED, YCBCR, Page

_FAX, _JPEG, _JPEG_2000, _WEBP = (2, 3, 4), (7,), (33005, 34712), (50001,)
READ = (*_FAX, *_JPEG, *_JPEG_2000, *_WEBP)
_COPIED = (292, 293, 347, 530)
"""Options of fax, tables of JPEG, subsampling."""


def fill(page: Page, out: NDArray[Any], limit: int) -> None:
    """As `segments.fill`, for these compressions."""
    with quiet():
        if page.compression in _FAX or (page.compression in _JPEG and page.bits == 8):
            _by_libtiff(page, out)
        else:
            _each(page, out, limit)


def _by_libtiff(page: Page, out: NDArray[Any]) -> None:
    """The whole page by the libtiff in Pillow, wrapped anew without what Pillow acts on by itself (orientation)."""
    starts, counts = extents(page)
    parts = [page.tiff.read(int(start), int(count)) for start, count in zip(starts, counts, strict=True)]
    planes = page.samples if page.separate else 1
    each = len(parts) // planes
    bands = page.samples // planes
    # Grey, or colours as they are stored: only YCbCr has to be made RGB by the decoder, which knows its subsampling.
    photometric = page.photometric if page.photometric in (YCBCR, SEPARATED) else BLACK_IS_ZERO if bands == 1 else RGB
    if bands not in (1, 3, 4) or (photometric == YCBCR and bands != 3):
        raise page.tiff.refused(f"{bands} bands in one JPEG are not read; save them uncompressed ({page.words})")
    numbers: dict[int, int | tuple[int, ...]] = {code: page.directory.numbers(code) for code in _COPIED}
    numbers = {code: value for code, value in numbers.items() if value}
    numbers |= {256: page.width, 257: page.height, 258: (page.bits,) * bands, 259: page.compression, 262: photometric}
    numbers |= {266: 2 if page.reversed_bits else 1, 277: bands}
    numbers |= {322: page.tile[1], 323: page.tile[0]} if page.tiled else {278: page.tile[0]}
    if bands == 4 and photometric == RGB:
        numbers[338] = 0
    for plane in range(planes):
        picture = wrapped(numbers, parts[plane * each : (plane + 1) * each], page.tiff.order)
        pixels = pixels_of(picture, size=(page.width, page.height))
        pixels = pixels.reshape(page.height, page.width, -1)
        if pixels.shape[2] != bands:
            raise Damaged(f"{pixels.shape[2]} bands decoded where {bands} belong")
        out[..., plane * bands : (plane + 1) * bands] = pixels


def _each(page: Page, out: NDArray[Any], limit: int) -> None:
    starts, counts = extents(page)
    for place, start, count in zip(places(page), starts, counts, strict=True):
        if stored_bytes(page, place) > limit:
            raise page.tiff.refused(f"damaged: a single tile of {stored_bytes(page, place)} bytes")
        if not count:
            continue
        data = page.tiff.read(int(start), int(count))
        block = _picture(page, data, place).reshape(-1, place.width, place.bands)
        rows, columns = min(len(block), page.height - place.top), min(place.width, page.width - place.left)
        target = out[place.top : place.top + rows, place.left : place.left + columns]
        target[..., place.band : place.band + place.bands] = block[:rows, :columns]


def _picture(page: Page, data: bytes, place: Place) -> NDArray[Any]:
    size = (place.width, place.height)
    if page.compression in _WEBP:
        _same_size(webp_size(data), size)  # opening one already takes room for its pixels
        pixels = pixels_of(data, ("WEBP",), size).reshape(place.height, place.width, -1)
        if pixels.shape[2] == 3 and place.bands == 4:  # WebP leaves out transparency where there is none
            pixels = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=2)
        wanted = pixels
    else:
        found, bands = _jpeg_2000_facts(data) if page.compression in _JPEG_2000 else _jpeg_facts(data)
        _same_size(found, size)
        if bands != place.bands:
            raise Damaged(f"{bands} bands in a tile where {place.bands} belong")
        wanted = _by_imagecodecs(page, data)
    if wanted.size != place.width * place.height * place.bands or wanted.dtype != page.dtype:
        raise Damaged(f"a tile of {wanted.shape} {wanted.dtype} where {place[3:]} {page.dtype} belong")
    return wanted


def _by_imagecodecs(page: Page, data: bytes) -> NDArray[Any]:
    try:
        codecs = importlib.import_module("imagecodecs")
    except ImportError:
        raise NeedsCodec(page.words) from None
    try:
        if page.compression in _JPEG_2000:
            return np.asarray(codecs.jpeg2k_decode(data))
        tables = page.directory.array(347)
        return np.asarray(
            codecs.jpeg_decode(data, bitspersample=page.bits, tables=None if tables is None else tables.tobytes())
        )
    except Exception as error:  # each codec has errors of its own
        raise Damaged("cannot be decompressed") from error


def _same_size(found: tuple[int, int], size: tuple[int, int]) -> None:
    """A stream says its own size, and room for it is taken before anything is decoded."""
    if found != size:
        raise Damaged(f"a tile of {found[1]}x{found[0]} pixels where {size[1]}x{size[0]} belong")


def _jpeg_2000_facts(data: bytes) -> tuple[tuple[int, int], int]:
    """(width, height) and bands, from the marker SIZ."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0:
        return (0, 0), 0
    right, bottom, left, top = (int.from_bytes(data[at + n : at + n + 4], "big") for n in (8, 12, 16, 20))
    return (right - left, bottom - top), int.from_bytes(data[at + 40 : at + 42], "big")


def _jpeg_facts(data: bytes) -> tuple[tuple[int, int], int]:
    """(width, height) and bands, from the start of its frame."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (5, 7))
            return (width, height), data[at + 9]
        at += 2 + length
    return (0, 0), 0
