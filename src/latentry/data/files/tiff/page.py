"""What one page of a TIFF is, from its tags: sizes, value type, layout and colours, each checked before it is used."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from latentry.data.files.tiff.parse import Directory, Tiff

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, SEPARATED, YCBCR, CIELAB = 0, 1, 2, 3, 4, 5, 6, 8
COLOURS = {
    WHITE_IS_ZERO: "white is zero",
    BLACK_IS_ZERO: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    MASK: "mask",
    SEPARATED: "CMYK",
    YCBCR: "YCbCr",
    CIELAB: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "CFA, the raw data of a camera",
    32844: "LogL",
    32845: "LogLuv",
    34892: "LinearRaw, the raw data of a camera",
}
COMPRESSIONS = {
    1: "uncompressed",
    2: "CCITT RLE",
    3: "CCITT group 3",
    4: "CCITT group 4",
    5: "LZW",
    6: "old-style JPEG",
    7: "JPEG",
    8: "deflate",
    32773: "packbits",
    32946: "deflate",
    33003: "JPEG 2000 (YCbCr)",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "zstd",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}


@dataclass(frozen=True)
class Page:
    """One page.

    tile: (height, width) of each tile, or of each strip. bits: of a sample. kind: "u", "i" or "f". separate: bands lie
    one behind the other. reduced: an overview of another page. mask: which pixels of another page count. shift:
    bytes from the pixels that the tags name to the page's own, where several pages share their tags.
    """

    directory: Directory
    width: int
    height: int
    samples: int
    bits: int
    kind: str
    compression: int
    predictor: int
    photometric: int
    separate: bool
    tiled: bool
    tile: tuple[int, int]
    orientation: int
    extra: tuple[int, ...]
    reversed_bits: bool
    reduced: bool
    mask: bool
    shift: int = 0

    @property
    def tiff(self) -> Tiff:
        return self.directory.tiff

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of a sample once unpacked, in the machine's byte order."""
        if self.kind == "f":
            return np.dtype(f"f{self.bits // 8}")
        return np.dtype(self.kind + next(str(size) for size in (1, 2, 4, 8) if self.bits <= 8 * size))

    @property
    def like(self) -> tuple[int, ...]:
        """Pages that are equal in this can be pages of one stack."""
        return self.width, self.height, self.samples, self.bits, self.photometric

    @property
    def grid(self) -> tuple[int, int]:
        """How many tiles or strips lie below and beside each other."""
        return math.ceil(self.height / self.tile[0]), math.ceil(self.width / self.tile[1])

    @property
    def words(self) -> str:
        """The page's kind, for messages: TIFF, LZW, 12 bits, RGB."""
        values = f"{self.bits} bits" + {"u": "", "i": " signed", "f": " float"}[self.kind]
        return (
            f"TIFF, {COMPRESSIONS.get(self.compression, f'compression {self.compression}')}, {values}, "
            f"{COLOURS.get(self.photometric, f'colours of kind {self.photometric}')}"
        )


def page_of(directory: Directory) -> Page:
    """Raises `BadImage` for tags that no picture can have."""
    tiff = directory.tiff
    width, height = directory.number(256, 0), directory.number(257, 0)
    samples = directory.number(277, 1)
    bits = set(directory.numbers(258, (1,)))
    formats = set(directory.numbers(339, (1,)))
    if width < 1 or height < 1 or samples < 1:
        raise tiff.refused(f"the header says {height}x{width} pixels of {samples} bands")
    if len(bits) > 1 or len(formats) > 1:
        raise tiff.refused(f"bands of different kinds ({sorted(bits)} bits, formats {sorted(formats)}) are not read")
    tiled = 322 in directory.tags
    rows = min(directory.number(278, height), height) or height
    tile = (directory.number(323, 0), directory.number(322, 0)) if tiled else (rows, width)
    number_bits, number_format = bits.pop(), formats.pop()
    if min(tile) < 1 or not 1 <= number_bits <= 64:
        raise tiff.refused(f"damaged: tiles of {tile[1]}x{tile[0]} pixels, {number_bits} bits")
    if number_format not in _KINDS:
        raise tiff.refused("complex numbers are not read; save their real and imaginary parts as bands")
    kind = _KINDS[number_format]
    if kind == "f" and number_bits not in (16, 32, 64):
        raise tiff.refused(f"floating-point values of {number_bits} bits are not read; save 32 bits")
    subfile, turn = directory.number(254, 0), directory.number(274, 1)
    return Page(
        directory=directory,
        width=width,
        height=height,
        samples=samples,
        bits=number_bits,
        kind=kind,
        compression=directory.number(259, 1),
        predictor=directory.number(317, 1),
        photometric=directory.number(262, BLACK_IS_ZERO),
        separate=directory.number(284, 1) == 2 and samples > 1,
        tiled=tiled,
        tile=tile,
        orientation=turn if 1 <= turn <= 8 else 1,
        extra=directory.numbers(338),
        reversed_bits=directory.number(266, 1) == 2,
        reduced=bool(subfile & 1) or directory.number(255, 1) == 2,
        mask=bool(subfile & 4),
    )


def no_data(page: Page) -> float | None:
    """GDAL's value where nothing was measured; its tag holds text."""
    try:
        return float(page.directory.text(42113).strip())
    except ValueError:
        return None
