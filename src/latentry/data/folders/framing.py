"""How much of the images a sample of the recipe's shape keeps, and whether boxes lie in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from latentry.data import transform
from latentry.data.files.header import Header, shown
from latentry.data.folders.pixel_fields import boxes_of
from latentry.data.folders.record import Record
from latentry.data.options import DataOptions

LEAST = 0.5
"""Share of their area from which on nothing is said; a photograph of 3:2 keeps 0.67 in a square."""
OVER = 0.02
"""Share of a side by which a box may leave its image: hands and rounding do that much."""
FEW = 0.05
"""Share of boxes up to which nothing is said."""


def cut_away(headers: Mapping[str, Header], options: DataOptions) -> list[str]:
    """A line where most of the images are mostly cut away, always at the same place."""
    if options.crop != "center" or not headers:
        return []
    kept = {(h.height, h.width): _kept(h.height, h.width, options) for h in headers.values()}
    usual = median(kept[h.height, h.width] for h in headers.values())
    if usual >= LEAST:
        return []
    height, width = min(kept, key=lambda size: abs(kept[size] - usual))
    to_height, to_width = options.height_width
    return [
        f"most of each image is cut away: of one {width} wide and {height} high the middle {usual:.0%} is left for "
        f"{to_height}x{to_width}. data.crop: pad keeps all of each, data.size: [height, width] is another shape."
    ]


def _kept(height: int, width: int, options: DataOptions) -> float:
    left, top, right, bottom = transform.geometry(height, width, options).part
    return (right - left) * (bottom - top) / (height * width)


def boxes_astray(headers: Mapping[str, Header], records: Sequence[Record], options: DataOptions) -> list[str]:
    """A line where many boxes leave their images, as two corners that are read as corner and size do."""
    astray, count, first = 0, 0, ""
    for record in records if options.boxes else ():
        header = headers.get(record.path)
        if header is None:
            continue
        corners, _ = boxes_of(record, options.boxes or "")
        shares = corners / ([header.width, header.height] * 2)
        outside = np.flatnonzero((shares < -OVER).any(axis=1) | (shares > 1 + OVER).any(axis=1))
        if len(outside) and not astray:
            left, top, right, bottom = corners[outside[0]]
            box = f"[{left:g}, {top:g}, {right - left:g}, {bottom - top:g}]"
            first = f"{shown(record.path)}: {box} of {header.width}x{header.height}"
        astray, count = astray + len(outside), count + len(corners)
    if astray <= FEW * count:
        return []
    return [
        f"{astray} of {count} boxes leave their images and are cut to them (first: {first}). Boxes are "
        "[x, y, width, height] in pixels of the file: of [left, top, right, bottom] the last two are too large."
    ]
