"""Blood cells found by their colours: a judge of images of stained smears that knows nothing of models.

Red cells are redder than the pale ground and nuclei are bluer, in every staining: colours are taken relative to the
image's own ground. Thresholds were chosen on training images of BCCD at 96x128.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels"""
BLUER, REDDER = 0.05, 0.02
"""By how much of the range blue is over red in a nucleus, and red over green in a red cell, more than in the ground."""
WHITE = 0.012
"""The least share of an image that the nucleus of a white cell takes; smaller ones are platelets."""
LEAST = 4
"""Pixels of a platelet."""


@dataclass(frozen=True)
class Cells:
    """covered: (H, W) what is cell of any kind. white, platelets: boxes around what is blue, large and small."""

    covered: Mask
    white: list[Box]
    platelets: list[Box]


def find(image: NDArray[np.floating]) -> Cells:
    """The cells of an image (H, W, 3) in [0, 1]."""
    smooth = ndimage.gaussian_filter(image.astype(np.float64), (0.7, 0.7, 0))
    light = smooth.mean(-1)
    red, green, blue = np.moveaxis(smooth - np.median(smooth[light >= np.percentile(light, 85)], axis=0), -1, 0)
    stained = blue - red > BLUER
    covered = ndimage.binary_fill_holes(ndimage.binary_opening(stained | (red - green > REDDER)))
    parts, count = ndimage.label(stained)
    areas = ndimage.sum_labels(stained, parts, np.arange(1, count + 1))
    boxes: list[Box] = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(parts)]
    least = WHITE * stained.size
    white = [box for box, area in zip(boxes, areas, strict=True) if area >= least]
    return Cells(covered, white, [box for box, area in zip(boxes, areas, strict=True) if LEAST <= area < least])


def ellipses(boxes: Sequence[Sequence[float]], height: int, width: int) -> Mask:
    """(H, W) what the ellipses inside these boxes cover: where cells of such boxes are."""
    y, x = np.mgrid[:height, :width] + 0.5
    covered = np.zeros((height, width), dtype=bool)
    for left, top, right, bottom in boxes:
        across, down = (x - (left + right) / 2) / (right - left), (y - (top + bottom) / 2) / (bottom - top)
        covered |= across**2 + down**2 <= 0.25
    return covered
