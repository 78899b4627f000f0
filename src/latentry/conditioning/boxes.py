"""Boxes of objects as token numbers, and back: three tokens a box, as the published layout models read them.

Source: Rombach et al. 2022, section 4.3.1 and appendix E.2.1; the published builder of such tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from latentry.errors import UsageError, shown

Corners = tuple[float, float, float, float]
"""left, top, right, bottom as shares of the image's width and height, 0 to 1."""
WHOLE: Corners = (0.0, 0.0, 1.0, 1.0)
WANTED = '{"label": NAME, "bbox": [x, y, width, height]}'
SLOWEST = 0.25
"""Turns over the side of an image that the slowest of the waves makes which say where a place is."""
MOST = 1e9
SLACK = 1e-6
"""By how many of its sides a box may leave the image: what rounding does to shares."""


class Told(NamedTuple):
    """One box: the name or the number of its class, and where it is."""

    label: str | int
    corners: Corners


def sections(vocabulary: int) -> int:
    """How many places a side has: a token is one of sections x sections of them, row by row."""
    return math.isqrt(vocabulary)


def place(x: float, y: float, vocabulary: int) -> int:
    """The token of a point. x, y: 0 to 1, of the width and the height; halves are rounded to even numbers."""
    side = sections(vocabulary)
    return round(y * (side - 1)) * side + round(x * (side - 1))


def point(token: int, vocabulary: int) -> tuple[float, float]:
    """The (x, y) of a token."""
    side = sections(vocabulary)
    return token % side / max(side - 1, 1), token // side / max(side - 1, 1)


def pair(corners: Sequence[float], vocabulary: int) -> list[int]:
    """The tokens of the upper left and of the lower right corner."""
    left, top, right, bottom = corners
    return [place(left, top, vocabulary), place(right, bottom, vocabulary)]


def tokens(
    classes: Sequence[int], corners: Sequence[Sequence[float]], *, vocabulary: int, objects: int, crop: bool
) -> list[int]:
    """Class and two corners of each box, "no object" three times for each that is missing, then the crop's corners.

    objects: how many boxes there is room for. The last token is "no object". crop: whether the corners of the part that
    is seen follow: of the whole, as boxes are told in shares of it.
    """
    flat = [number for row, box in zip(classes, corners, strict=True) for number in (row, *pair(box, vocabulary))]
    flat += [vocabulary - 1] * (3 * (objects - len(classes)))
    return flat + (pair(WHOLE, vocabulary) if crop else [])


def boxes(numbers: Sequence[int], *, vocabulary: int, objects: int) -> list[tuple[int, Corners]]:
    """The reverse of `tokens`: class and corners of each box, to the nearest of the places."""
    triples = (tuple(numbers[3 * i : 3 * i + 3]) for i in range(objects))
    whole = (triple for triple in triples if len(triple) == 3 and vocabulary - 1 not in triple)
    return [(row, (*point(start, vocabulary), *point(end, vocabulary))) for row, start, end in whole]


@torch.no_grad()
def begin(tokens: Tensor, positions: Tensor, vocabulary: int, classes: int) -> None:
    """First weights of a layout's tokens (vocabulary, D) and of their positions, in place, which were drawn already.

    A place's token begins as where it is, in sines and cosines of x and of y: nearby places are alike, so that one box
    teaches of others, which places drawn by themselves take hundreds of thousands of images to learn. Those that are
    also one of so many classes keep what was drawn besides. Positions are drawn as large as tokens: they alone say
    which three tokens are one box.
    """
    side, quarter = sections(vocabulary), tokens.shape[1] // 4
    if side < 2 or not quarter or tokens.is_meta:
        return
    turns = SLOWEST * (side / 2 / SLOWEST) ** torch.linspace(0, 1, quarter)  # over the image's side
    angles = 2 * math.pi * torch.linspace(0, 1, side)[:, None] * turns
    one = math.sqrt(2) * torch.cat([angles.sin(), angles.cos()], 1)  # (side, D / 2), of variance 1
    x, y = one[None].expand(side, side, -1), one[:, None].expand(side, side, -1)
    tokens[classes : side * side] = 0
    tokens[: side * side, : 4 * quarter] += torch.cat([x, y], 2).flatten(0, 1)
    nn.init.normal_(positions)


def told(value: Any, size: tuple[int, int] | None) -> list[Told]:
    """The boxes of a layout as a person writes it: a list of boxes, or {"boxes": ..., "width": ..., "height": ...}.

    A box is in shares of the image where no number of the layout's boxes is above 1, else in pixels of the layout's own
    width and height, or of `size` (height, width) where it names none. Errors: `UsageError`, one line, for anything
    else, and for a box that is empty, smaller than a pixel, or not wholly inside.
    """
    height_width = size
    if isinstance(value, Mapping):
        if not isinstance(value.get("boxes"), list | tuple) or value.keys() - {"boxes", "width", "height"}:
            keys = ", ".join(shown(key) for key in value)
            raise UsageError(f"layout: a mapping of {keys}; accepted: boxes, and the width and height they are told in")
        height_width = _size(value) if len(value) > 1 else size
        value = value["boxes"]
    rows = [_row(number, one) for number, one in enumerate(value, 1)]
    in_pixels = any(number > 1 for _, bbox in rows for number in bbox)
    if in_pixels and height_width is None:
        raise UsageError("layout: boxes in pixels of an unknown size; give width and height, or shares from 0 to 1")
    height, width = height_width if in_pixels and height_width else (1, 1)
    return [
        Told(label, _inside(number, label, bbox, height, width, in_pixels))
        for number, (label, bbox) in enumerate(rows, 1)
    ]


def _size(value: Mapping[str, Any]) -> tuple[int, int]:
    sides = value.get("height"), value.get("width")
    height, width = (side if type(side) is int and side > 0 else 0 for side in sides)
    if not (height and width):
        raise UsageError(
            f"layout: width {shown(value.get('width'))}, height {shown(value.get('height'))}; accepted: both, whole "
            "numbers above 0"
        )
    return height, width


def _row(number: int, box: Any) -> tuple[str | int, list[float]]:
    where = f"layout: box {number}"
    if not isinstance(box, Mapping) or "label" not in box or "bbox" not in box or len(box) > 2:
        raise UsageError(f"{where}: found {shown(box)}; accepted: {WANTED}")
    label, bbox = box["label"], box["bbox"]
    if not isinstance(label, str | int) or isinstance(label, bool):
        raise UsageError(f"{where}: label {shown(label)}; accepted: the name of a class, or its number")
    row = list(bbox) if isinstance(bbox, list | tuple | np.ndarray) else []
    if len(row) != 4 or not all(isinstance(side, Real) and abs(float(side)) < MOST for side in row):  # not NaN either
        raise UsageError(f"{where} ({shown(label)}): bbox {shown(bbox)}; accepted: [x, y, width, height], four numbers")
    return label, [float(side) for side in row]


def _inside(number: int, label: str | int, bbox: list[float], height: int, width: int, in_pixels: bool) -> Corners:
    x, y, across, down = bbox
    where = f"layout: box {number} ({shown(label)}): {[round(side, 6) for side in bbox]}"
    if across <= 0 or down <= 0:
        raise UsageError(f"{where} is empty; accepted: a width and a height above 0")
    if in_pixels and min(across, down) < 1:
        raise UsageError(f"{where} is smaller than a pixel; numbers are shares where all of a layout are at most 1")
    left, top, right, bottom = x / width, y / height, (x + across) / width, (y + down) / height
    if min(left, top) < -SLACK or max(right, bottom) > 1 + SLACK:
        image = f"an image {width} wide and {height} high, in pixels" if in_pixels else "0 to 1, in shares of the image"
        raise UsageError(f"{where} leaves the image ({image}). Give what lies in it, or the width and height it is of.")
    return max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)
