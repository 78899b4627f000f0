"""A part of a TIFF's picture at a time, for pictures that do not fit in memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import numpy as np

from latentry.data.files.header import Array
from latentry.data.files.tiff import colour, segments
from latentry.data.files.tiff.codecs import BYTES, Damaged
from latentry.data.files.tiff.layout import extents, places, stored_bytes
from latentry.data.files.tiff.page import Page
from latentry.windows import Window

KEPT = 2**28
"""Bytes of decoded strips and tiles that are kept for the windows that follow: 256 MiB."""


def by_windows(page: Page, limit: int) -> bool:
    """Whether parts of a page can be read: upright, of a compression that is decoded here, in strips or tiles that are
    small. limit: most bytes of the largest."""
    place = next(places(page))
    return page.compression in BYTES and page.orientation == 1 and stored_bytes(page, place) <= min(limit, KEPT)


class Windows:
    """Reads windows of a page's picture. The strips and tiles that were last needed are kept decoded."""

    def __init__(self, page: Page) -> None:
        segments.check_predictor(page)
        self.page, self.places = page, list(places(page))
        self.starts, self.counts = extents(page)
        self.kept: OrderedDict[int, Array] = OrderedDict()

    def read(self, window: Window) -> Array:
        """(h, w, C) of the header's dtype. Raises `BadImage` for what is damaged."""
        page, (rows, columns) = self.page, self.page.tile
        samples = np.empty((window.height, window.width, page.samples), page.dtype)
        down, across = page.grid
        for plane in range(page.samples if page.separate else 1):
            for row in range(window.top // rows, -(-window.bottom // rows)):
                for column in range(window.left // columns, -(-window.right // columns)):
                    self._put((plane * down + row) * across + column, window, samples)
        return colour.picture(replace(page, height=window.height, width=window.width), samples)

    def _put(self, index: int, window: Window, samples: Array) -> None:
        """The part of one strip or tile that lies in a window."""
        place = self.places[index]
        tile = Window(place.top, place.top + place.height, place.left, place.left + place.width)
        both = Window(
            max(tile.top, window.top),
            min(tile.bottom, window.bottom),
            max(tile.left, window.left),
            min(tile.right, window.right),
        )
        target = samples[both.top - window.top : both.bottom - window.top, both.left - window.left :]
        target[:, : both.width, place.band : place.band + place.bands] = self._block(index)[
            both.top - tile.top : both.bottom - tile.top, both.left - tile.left : both.right - tile.left
        ]

    def _block(self, index: int) -> Array:
        if index not in self.kept:
            try:
                block = segments.block(self.page, self.places[index], int(self.starts[index]), int(self.counts[index]))
            except Damaged as error:
                raise self.page.tiff.refused(f"damaged: {error} ({self.page.words})") from None
            self.kept[index] = block
            while len(self.kept) > 1 and sum(kept.nbytes for kept in self.kept.values()) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(index)
        return self.kept[index]
