"""Figures of layouts: how well the boxes found in images lie on those that were asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Layout = tuple[Sequence[Sequence[float]], Sequence[str | None]]
"""Boxes (left, top, right, bottom) in any one unit, and the class of each."""


def box_iou(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every box (N, 4) with every other (M, 4): (N, M); left, top, right, bottom."""
    a, b = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) for boxes in (one, other))
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = np.prod(sides.clip(min=0), -1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], -1) for boxes in (a, b)]
    shares: NDArray[np.float64] = common / np.maximum(areas[0][:, None] + areas[1] - common, 1e-12)
    return shares


def best_pairs(scores: NDArray[np.float64]) -> list[int | None]:
    """For each row of scores (N, M) its own column, or None, such that the sum of the scores is greatest.

    All ways are tried: for few rows. A pair that adds nothing is none.
    """

    def best(row: int, taken: frozenset[int]) -> tuple[float, list[int | None]]:
        if row == len(scores):
            return 0.0, []
        total, rest = best(row + 1, taken)
        ways: list[tuple[float, list[int | None]]] = [(total, [None, *rest])]
        for column in range(scores.shape[1]):
            if column not in taken and scores[row, column] > 0:
                total, rest = best(row + 1, taken | {column})
                ways.append((total + float(scores[row, column]), [column, *rest]))
        return max(ways, key=lambda way: way[0])

    return best(0, frozenset())[1]


def layout_figures(asked: Sequence[Layout], found: Sequence[Layout]) -> dict[str, float]:
    """`mean_iou` and `class_right`, means over all boxes asked for; one that nothing was found for counts as 0."""
    overlaps, right = list[float](), list[bool]()
    for (boxes, names), (found_boxes, found_names) in zip(asked, found, strict=True):
        scores = box_iou(boxes, found_boxes)
        for row, column in enumerate(best_pairs(scores)):
            overlaps.append(0.0 if column is None else float(scores[row, column]))
            right.append(column is not None and found_names[column] == names[row])
    if not overlaps:
        raise ValueError("layout_figures: no boxes were asked for")
    return {"mean_iou": float(np.mean(overlaps)), "class_right": float(np.mean(right))}
