"""The strips and tiles of a page to one array of its samples, as they are stored: no colours are made of them yet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentry.data.files.header import Array
from latentry.data.files.tiff import pictures
from latentry.data.files.tiff.codecs import BYTES, Damaged, decoded
from latentry.data.files.tiff.layout import Place, extents, places, stored_bytes
from latentry.data.files.tiff.page import Page

_REVERSED = bytes(int(f"{n:08b}"[::-1], 2) for n in range(256))
_AT_ONCE = 2**20
"""Samples of odd bit counts that are unpacked at once: each takes a byte for every bit meanwhile."""


def fill(page: Page, out: NDArray[Any], limit: int) -> None:
    """Decode all samples into `out` (H, W, samples). limit: most bytes of a single tile or strip.

    Raises `BadImage` for what is damaged, `NeedsCodec` for a compression that needs the extra.
    """
    try:
        if page.compression not in BYTES:
            pictures.fill(page, out, limit)
            return
        check_predictor(page)
        starts, counts = extents(page)
        for index, place in enumerate(places(page)):
            if stored_bytes(page, place) > limit:
                raise page.tiff.refused(f"damaged: a single tile of {stored_bytes(page, place)} bytes ({page.words})")
            pixels = block(page, place, int(starts[index]), int(counts[index]))
            rows, columns = (min(size, full) for size, full in zip(pixels.shape, _room(page, place), strict=False))
            target = out[place.top : place.top + rows, place.left : place.left + columns]
            target[..., place.band : place.band + place.bands] = pixels[:rows, :columns]
    except Damaged as error:
        raise page.tiff.refused(f"damaged: {error} ({page.words})") from None


def check_predictor(page: Page) -> None:
    """Raise `BadImage` for differences of values that are not read."""
    if page.predictor not in (1, 2, 3) or (page.predictor == 2 and page.bits not in (8, 16, 32, 64)):
        raise page.tiff.refused(f"predictor {page.predictor} is not read ({page.words})")
    if page.predictor == 3 and page.kind != "f":
        raise page.tiff.refused(f"damaged: predictor 3 of values that are not floating-point ({page.words})")


def _room(page: Page, place: Place) -> tuple[int, int]:
    return page.height - place.top, page.width - place.left


def block(page: Page, place: Place, start: int, count: int) -> Array:
    """(height, width, bands) of one strip or tile; zeros where a sparse file stores none."""
    shape = (place.height, place.width, place.bands)
    if start == 0 or count == 0:
        if page.compression == 1 and start:
            count = stored_bytes(page, place)
        else:
            return np.zeros(shape, page.dtype)
    data = page.tiff.read(start, count)
    if page.reversed_bits:
        data = data.translate(_REVERSED)
    data = decoded(page.compression, data, stored_bytes(page, place))
    if page.predictor == 3:
        return _floats(page, data, shape)
    values = _unpacked(page, data, shape)
    if page.predictor == 2:
        whole = values.view(f"u{values.dtype.itemsize}")
        return np.cumsum(whole, axis=1, dtype=whole.dtype).view(values.dtype)
    return values


def _floats(page: Page, data: bytes, shape: tuple[int, int, int]) -> Array:
    """Adobe's floating-point predictor: differences of bytes, the bytes of equal weight beside each other."""
    height, width, bands = shape
    size = page.bits // 8
    rows = np.frombuffer(data, np.uint8).reshape(height, size * width, bands)
    summed = np.cumsum(rows, axis=1, dtype=np.uint8).reshape(height, size, width * bands)
    values = np.ascontiguousarray(summed.transpose(0, 2, 1)).view(f">f{size}")
    return values.reshape(shape).astype(page.dtype)


def _unpacked(page: Page, data: bytes, shape: tuple[int, int, int]) -> Array:
    height, width, bands = shape
    if page.bits in (8, 16, 32, 64):
        stored = np.dtype(page.tiff.order + page.dtype.str[1:])
        return np.frombuffer(data, stored).astype(page.dtype, copy=False).reshape(shape)
    count = width * bands
    rows = np.frombuffer(data, np.uint8).reshape(height, -1)
    values = np.empty((height, count), page.dtype)
    step = max(1, _AT_ONCE // count)
    for top in range(0, height, step):
        values[top : top + step] = _bits_to_numbers(rows[top : top + step], count, page)
    return values.reshape(shape)


def _bits_to_numbers(rows: NDArray[np.uint8], count: int, page: Page) -> Array:
    """Numbers of 1 to 63 bits, the highest bit first, signed ones as a two's complement."""
    bits = np.unpackbits(rows, axis=1)[:, : count * page.bits].reshape(len(rows), count, page.bits)
    numbers = np.zeros((len(rows), count), np.uint64)
    for n in range(page.bits):
        numbers = (numbers << np.uint64(1)) | bits[..., n]
    if page.kind == "i":
        sign = np.int64(1) << np.int64(page.bits - 1)
        return ((numbers.astype(np.int64) ^ sign) - sign).astype(page.dtype)
    return numbers.astype(page.dtype)
