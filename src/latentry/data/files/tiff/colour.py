"""The samples of a page to the channels of a picture: palettes, CMYK, Lab, white as zero, few bits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentry.data.files.header import Array
from latentry.data.files.tiff import pictures
from latentry.data.files.tiff.codecs import BYTES
from latentry.data.files.tiff.page import (
    BLACK_IS_ZERO,
    CIELAB,
    COLOURS,
    COMPRESSIONS,
    MASK,
    PALETTE,
    RGB,
    SEPARATED,
    WHITE_IS_ZERO,
    YCBCR,
    Page,
)

_ROWS_OF = 2**22
"""Values converted at once."""
_PLAIN = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, MASK)
_FEW_BITS = {1: 255, 2: 85, 4: 17}
"""What values of so few bits are multiplied by to reach 255, as PNG does."""


class Made(NamedTuple):
    """What a page's samples become. bits: of a value that the file uses, where its type has more."""

    channels: int
    dtype: str
    bits: int | None = None


def made_of(page: Page) -> Made:
    """Raises `BadImage`, by name, for kinds that are not read."""
    if page.compression not in BYTES and page.compression not in pictures.READ:
        name = COMPRESSIONS.get(page.compression, f"of number {page.compression}")
        raise page.tiff.refused(f"TIFF compression {name} is not read; save with deflate, LZW or none")
    if page.photometric in _PLAIN:
        return _plain(page)
    if page.photometric == PALETTE and page.kind == "u" and page.bits <= 16 and page.samples == 1:
        return Made(3, "uint8" if _map_is_8_bit(_colour_map(page)) else "uint16")
    three = page.samples == 3 and page.bits == 8 and page.kind == "u"
    if page.photometric == YCBCR and three and (page.compression == 7 or page.directory.numbers(530) == (1, 1)):
        return Made(3, "uint8")
    if page.photometric == CIELAB and three:
        return Made(3, "uint8")
    if page.photometric == SEPARATED and page.samples == 4 and page.bits == 8 and page.directory.number(332, 1) == 1:
        return Made(3, "uint8")
    colours = COLOURS.get(page.photometric, f"of kind {page.photometric}")
    raise page.tiff.refused(
        f"pixels of colours {colours} with {page.samples} bands of {page.bits} bits are not read; save RGB, grey or "
        "plain bands"
    )


def _plain(page: Page) -> Made:
    if page.kind == "f":
        return Made(page.samples, "float32")
    if page.bits > 32:
        raise page.tiff.refused(f"whole numbers of {page.bits} bits are not read; save 32 bits")
    if page.kind == "u" and page.bits in _FEW_BITS:
        return Made(page.samples, "uint8")
    name = {"u": "uint", "i": "int"}[page.kind] + str(8 * page.dtype.itemsize)
    return Made(page.samples, name, page.bits if page.bits != 8 * page.dtype.itemsize else None)


def picture(page: Page, values: NDArray[Any]) -> Array:
    """(H, W, samples) as stored to (H, W, channels) as `made_of` says; plain values are changed in place."""
    if page.photometric in _PLAIN:
        return _finished(page, values)
    made = made_of(page)
    out = np.empty((page.height, page.width, made.channels), made.dtype)
    step = max(1, _ROWS_OF // (page.width * page.samples))
    for top in range(0, page.height, step):
        out[top : top + step] = _colours(page, values[top : top + step])
    return out


def _finished(page: Page, values: NDArray[Any]) -> Array:
    if page.photometric == WHITE_IS_ZERO:
        if page.kind == "f":
            np.subtract(1, values, out=values)
        else:
            np.invert(values, out=values)
            if page.kind == "u" and page.bits % 8:
                values &= values.dtype.type(2**page.bits - 1)
    if page.kind == "u" and page.bits in _FEW_BITS:
        values *= np.uint8(_FEW_BITS[page.bits])
    return values.astype(np.float32, copy=False) if page.kind == "f" else values


def _colours(page: Page, rows: NDArray[Any]) -> Array:
    if page.photometric == PALETTE:
        colours = _colour_map(page)
        if _map_is_8_bit(colours):
            colours = (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)
        return colours[np.minimum(rows[..., 0], len(colours) - 1)]
    if page.photometric == CIELAB:
        return _lab_to_rgb(rows)
    if page.photometric == YCBCR and page.compression == 7:
        return rows
    mode = "CMYK" if page.photometric == SEPARATED else "YCbCr"
    height, width = rows.shape[:2]
    stored = Image.frombytes(mode, (width, height), np.ascontiguousarray(rows).tobytes())
    return np.asarray(stored.convert("RGB")).reshape(height, width, 3)


def _colour_map(page: Page) -> NDArray[np.uint16]:
    stored = page.directory.array(320)
    if stored is None or stored.dtype.kind != "u" or stored.dtype.itemsize > 2 or not len(stored) or len(stored) % 3:
        raise page.tiff.refused("damaged: a palette without colours")
    return np.ascontiguousarray(stored.reshape(3, -1).T.astype(np.uint16))


def _map_is_8_bit(colours: NDArray[np.uint16]) -> bool:
    """Whether the high bytes say all: the low ones are zero or their copy. Some programs write 0 to 255."""
    low = colours & np.uint16(255)
    return bool(colours.max() <= 255 or not low.any() or (low == colours >> np.uint16(8)).all())


def _lab_to_rgb(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """CIELab of 8 bits under D50 (TIFF 6.0, section 23) to sRGB; matrices after Bradford's adaptation."""
    light = rows[..., 0] * np.float32(100 / 255)
    a, b = (rows[..., n].astype(np.uint8).view(np.int8).astype(np.float32) for n in (1, 2))
    y = (light + 16) / 116
    cubes = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(cubes > 6 / 29, cubes**3, 3 * (6 / 29) ** 2 * (cubes - 4 / 29)) * np.array([0.9642, 1, 0.8249])
    to_rgb = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]])
    linear = np.clip(xyz @ to_rgb.T, 0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(shown * 255).astype(np.uint8)
