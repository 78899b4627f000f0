"""Where the strips or tiles of a page lie in the picture and in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentry.data.files.tiff.page import Page


class Place(NamedTuple):
    """Where the pixels of one strip or tile lie. height: rows stored; a tile's may lie beyond the picture."""

    top: int
    left: int
    band: int
    height: int
    width: int
    bands: int


def places(page: Page) -> Iterator[Place]:
    """In the order of the page's offsets."""
    rows, columns = page.grid
    bands = 1 if page.separate else page.samples
    for band in range(page.samples if page.separate else 1):
        for row in range(rows):
            for column in range(columns):
                top = row * page.tile[0]
                height = page.tile[0] if page.tiled else min(page.tile[0], page.height - top)
                yield Place(top, column * page.tile[1], band, height, page.tile[1], bands)


def stored_bytes(page: Page, place: Place) -> int:
    """What the samples of a strip or tile take: every row starts at a byte."""
    return place.height * (-(-place.width * place.bands * page.bits // 8))


def extents(page: Page) -> tuple[NDArray[Any], NDArray[Any]]:
    """Offsets and byte counts of all strips or tiles. Raises `BadImage` where there are too few, or a bomb's many."""
    tiff, directory = page.tiff, page.directory
    rows, columns = page.grid
    needed = rows * columns * (page.samples if page.separate else 1)
    starts = directory.array(324 if 324 in directory.tags else 273)
    counts = directory.array(325 if 325 in directory.tags else 279)
    if starts is None or starts.dtype.kind not in "ui" or len(starts) < needed or starts.max() > tiff.size:
        raise tiff.refused(f"damaged: {0 if starts is None else len(starts)} strips or tiles, {needed} belong")
    if counts is None and page.compression == 1:
        counts = np.array([stored_bytes(page, place) for place in places(page)])
    if counts is None and needed == 1:
        counts = np.array([tiff.size - int(starts[0])])
    if counts is None or counts.dtype.kind not in "ui" or len(counts) < needed or counts.max() > tiff.size:
        raise tiff.refused(f"damaged: {0 if counts is None else len(counts)} byte counts, {needed} belong")
    if page.compression != 1:
        stored = sum(int(n) for n in counts[:needed])
        plain = sum(stored_bytes(page, place) for place in places(page))
        # LZW of noise grows by half at worst, JPEG of high quality less; what is twice as large is no picture.
        if stored > 2 * plain + 65536:
            raise tiff.refused(f"holds {stored} compressed bytes for {plain} bytes of pixels")
    return starts[:needed].astype(np.int64) + page.shift, counts[:needed].astype(np.int64)
