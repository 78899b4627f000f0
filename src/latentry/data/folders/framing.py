"""How much of the images a sample of the recipe's shape keeps."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from latentry.data import transform
from latentry.data.files.header import Header
from latentry.data.options import DataOptions

LEAST = 0.5
"""Share of their area from which on nothing is said; a photograph of 3:2 keeps 0.67 in a square."""


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
