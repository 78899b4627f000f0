"""Holes to train on: irregular strokes and boxes as LaMa draws them, margins to continue an image by, parts of objects.

Source: Suvorov et al. 2022, "Resolution-robust large mask inpainting with Fourier convolutions", section 2.3, with the
numbers of its configurations for 256 pixels (`random_thin_256`, `random_medium_256`, `random_thick_256`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hole = NDArray[np.bool_]
"""(H, W), True where an image is to be filled."""
Corners = NDArray[np.float32]
"""Boxes (N, 4): left, top, right, bottom as shares of width and height."""
Line = tuple[float, float, float, float]
"""Row and column of both ends."""
Draw = Callable[[int, int, np.random.Generator], Hole]

SIDE = 256
"""Pixels of the shorter side that the numbers are for; all lengths are scaled with it."""
LARGEST_SHARE = 0.5
"""Of an image that is a hole; a larger one is drawn again, as for the published test masks (`max_tamper_area`)."""
MOST_TRIES = 100


@dataclass(frozen=True)
class Strokes:
    """Chains of straight brush strokes: how many chains, and the longest stroke and broadest brush beyond the least."""

    fewest: int
    most: int
    width: int
    length: int
    longest_chain: int = 5
    least_width: int = 5
    least_length: int = 10

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Hole:
        scale = min(height, width) / SIDE
        chains = int(rng.integers(self.fewest, self.most, endpoint=True))
        strokes = rng.integers(1, self.longest_chain, chains, endpoint=True)
        starts = rng.integers((height, width), size=(chains, 2))
        turns, lengths, brushes = rng.integers((4, self.length, self.width), size=(strokes.sum(), 3)).T
        angles = (0.01 + turns) * np.repeat(np.where(np.arange(chains) % 2 == 0, -1, 1), strokes)  # in radians
        steps = scale * (self.least_length + lengths) * np.array([np.cos(angles), np.sin(angles)])  # (2, N)
        paths = np.split(steps.T, np.cumsum(strokes)[:-1])
        lines = [line for start, path in zip(starts, paths, strict=True) for line in _walk(start, path, height, width)]
        return _brushed(np.array(lines), np.maximum(scale * (self.least_width + brushes), 1) / 2, height, width)


@dataclass(frozen=True)
class Boxes:
    """Upright boxes: how many, their shortest and longest side, and how far from the border they stay."""

    fewest: int
    most: int
    shortest: int
    longest: int
    margin: int

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Hole:
        hole, scale = np.zeros((height, width), dtype=bool), min(height, width) / SIDE
        margin = round(scale * self.margin)
        for _ in range(int(rng.integers(self.fewest, self.most, endpoint=True))):
            sides = [max(1, round(scale * int(rng.integers(self.shortest, self.longest, endpoint=True)))) for _ in "hw"]
            rows, columns = (min(side, max(s - 2 * margin, 1)) for side, s in zip(sides, (height, width), strict=True))
            top = int(rng.integers(min(margin, height - rows), max(height - margin - rows, 0), endpoint=True))
            left = int(rng.integers(min(margin, width - columns), max(width - margin - columns, 0), endpoint=True))
            hole[top : top + rows, left : left + columns] = True
        return hole


def one_box(height: int, width: int, rng: np.random.Generator) -> Hole:
    """One box anywhere inside, each side of it a quarter to a half of the image's."""
    hole = np.zeros((height, width), dtype=bool)
    rows, columns = (int(rng.integers(-(-s // 4), max(1, s // 2), endpoint=True)) for s in (height, width))
    top, left = (int(rng.integers(s - part, endpoint=True)) for s, part in ((height, rows), (width, columns)))
    hole[top : top + rows, left : left + columns] = True
    return hole


def margins(height: int, width: int, rng: np.random.Generator) -> Hole:
    """Bands along one side or more, each side with probability a half, 4% to 25% of the image deep."""
    hole = np.zeros((height, width), dtype=bool)
    sides = rng.random(4) < 0.5
    if not sides.any():
        sides[int(rng.integers(4))] = True
    rows = [max(1, round(height * share)) for share in rng.uniform(0.04, 0.25, 2)]
    columns = [max(1, round(width * share)) for share in rng.uniform(0.04, 0.25, 2)]
    hole[: rows[0]] |= sides[0]
    hole[height - rows[1] :] |= sides[1]
    hole[:, : columns[0]] |= sides[2]
    hole[:, width - columns[1] :] |= sides[3]
    return hole


def sides_of(boxes: Corners) -> Draw:
    """A quarter to three quarters of one of these boxes, from one of its sides, and up to 6% of the image around it.

    Where most of an image is background, few other holes cut a thing, and none teaches what a thing goes on as.
    """

    def draw(height: int, width: int, rng: np.random.Generator) -> Hole:
        if not len(boxes):
            return one_box(height, width, rng)
        hole, around = np.zeros((height, width), dtype=bool), rng.uniform(0, 0.06) * min(height, width)
        left, top, right, bottom = boxes[int(rng.integers(len(boxes)))] * (width, height, width, height)
        inwards = np.full(4, -around)  # from above, from the left, from below, from the right
        side = int(rng.integers(4))
        inwards[side] = rng.uniform(0.25, 0.75) * (bottom - top if side % 2 == 0 else right - left)
        first, last = (np.array(ends) for ends in ((top, left), (bottom, right)))
        first, last = (np.maximum(np.round(ends), 0).astype(int) for ends in (first + inwards[:2], last - inwards[2:]))
        hole[first[0] : last[0], first[1] : last[1]] = True
        return hole

    return draw


def chosen(draws: Mapping[Draw, float]) -> Draw:
    """One of several, by their shares."""
    kinds, shares = list(draws), np.array(list(draws.values()), dtype=float)
    if len(kinds) == 1:
        return kinds[0]

    def draw(height: int, width: int, rng: np.random.Generator) -> Hole:
        return kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))](height, width, rng)

    return draw


# The published generator adds one to the most chains of the configuration.
THIN = Strokes(fewest=4, most=51, width=10, length=40)
MEDIUM = chosen({Strokes(4, 6, width=50, length=100): 1.0, Boxes(1, 5, shortest=10, longest=50, margin=0): 0.3})
WIDE = chosen({Strokes(1, 6, width=100, length=200): 1.0, Boxes(1, 3, shortest=30, longest=150, margin=10): 0.3})
KINDS: dict[str, Draw] = {"thin": THIN, "medium": MEDIUM, "wide": WIDE, "boxes": one_box, "outpaint": margins}
OBJECTS = "objects"
"""A further kind, of what a sample's own boxes say: `sides_of`."""
MIXED = {"thin": 1.0, "medium": 1.0, "wide": 2.0, "boxes": 1.0, "outpaint": 1.0}
"""Some of each, so that whatever mask a person brings, one like it was seen in training."""


def draw_hole(
    masks: str | Mapping[Any, float], height: int, width: int, rng: np.random.Generator, boxes: Corners | None = None
) -> Hole:
    """A hole (height, width) of one of KINDS, `mixed`, `objects`, or these by their shares; some of the image is known.

    boxes: of the image, for `objects`; without any one box anywhere takes their place.
    Drawn again where it covers nothing, or more than half of the image; where that does not help, one box.
    """
    shares = {masks: 1.0} if isinstance(masks, str) else masks
    objects = sides_of(np.empty((0, 4), np.float32) if boxes is None else boxes)
    known = {**KINDS, OBJECTS: objects, "mixed": chosen({KINDS[kind]: share for kind, share in MIXED.items()})}
    draw = chosen({known[kind]: share for kind, share in shares.items()})
    for _ in range(MOST_TRIES):
        hole = draw(height, width, rng)
        if 0 < hole.mean() <= LARGEST_SHARE:
            return hole
    return one_box(height, width, rng)


def _walk(start: NDArray[np.integer], steps: NDArray[np.floating], height: int, width: int) -> Iterator[Line]:
    """Step by step, each end kept inside the image."""
    y, x = (float(place) for place in start)
    for down, right in steps.tolist():
        there = min(max(y + down, 0.0), height), min(max(x + right, 0.0), width)
        yield (y, x, *there)
        y, x = there


def _brushed(lines: NDArray[np.floating], radii: NDArray[np.floating], height: int, width: int) -> Hole:
    """What is within its radius of any of the lines (N, 4): brushes with round tips.

    All at once, by the rows that each crosses, since there are up to 250 of a few pixels. A disc of radius r on its way
    from end to end, at share t of it, covers of row y the columns x(t) -+ sqrt(r^2 - u^2), u = y - y(t): furthest to a
    side where the tangent is parallel to the line, at u = +-r dx / length, or at the nearest end.
    """
    first = np.maximum(np.ceil(lines[:, ::2].min(1) - radii), 0).astype(int)
    last = np.minimum(np.floor(lines[:, ::2].max(1) + radii), height - 1).astype(int)
    rows = [np.arange(top, bottom + 1) for top, bottom in zip(first, last, strict=True)]
    which = np.repeat(np.arange(len(lines)), [len(each) for each in rows])
    y, (top, left, bottom, right), r = np.concatenate(rows), lines[which].T, radii[which]
    down, across = np.where(bottom == top, 1e-9, bottom - top), right - left
    tangent = r * across / np.hypot(down, across) * np.sign(down)
    edges = []
    for side in (-1, 1):
        t = np.clip((y - top + side * tangent) / down, 0, 1)
        half = np.sqrt(np.maximum(r**2 - (y - top - t * down) ** 2, 0))
        edges.append(left + t * across + side * half)
    begins = np.clip(np.ceil(edges[0]), 0, width).astype(int)
    ends = np.maximum(np.clip(np.floor(edges[1]) + 1, 0, width).astype(int), begins)
    change = np.zeros((height, width + 1), dtype=np.int16)  # of how many lie over a pixel, from that at its left
    np.add.at(change, (y, begins), 1)
    np.subtract.at(change, (y, ends), 1)
    hole: Hole = np.cumsum(change, 1, dtype=np.int16)[:, :width] > 0
    return hole
