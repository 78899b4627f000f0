"""Scenes: one or two coloured shapes of several sizes that do not overlap, with every truth about them known.

Scene i of a seed depends on (seed, i) and the allowed pairs alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from latentry import rng
from latentry.data.shapes.figures import COLOURS, SHAPES, Bytes, Floats, allowed, box_of, coverage, ground
from latentry.errors import UsageError

SMALLEST = 32
"""Pixels a side at which the smallest shape can still be told."""
USUAL = 2
"""The most shapes of a set's own choice: of which a first stage can draw each well at 64 pixels."""
RADII = {1: (0.24, 0.42), 2: (0.2, 0.29), 3: (0.17, 0.22)}
"""Least and greatest radius by the number of shapes, as a share of the shorter side."""
APART = 0.05
"""Between two shapes' disks, as a share of the shorter side, and at least 3 pixels."""
EDGE = 1.5
"""Pixels between a disk and the edge."""
TRIES = 20


class Thing(NamedTuple):
    """One shape of a scene. bbox: [x, y, w, h] in pixels."""

    shape: str
    colour: str
    bbox: tuple[int, int, int, int]

    @property
    def pair(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """One image and its truth: image (H, W, 3), semantic (H, W; 0 background, k-th shape = k), things by their disk's
    size, the largest first; no two are of one colour and shape."""

    image: Bytes
    semantic: Bytes
    things: tuple[Thing, ...]
    background: str

    @property
    def text(self) -> str:
        return words(thing.pair for thing in self.things)

    @property
    def label(self) -> str:
        return self.things[0].shape

    def record(self, file_name: str, semantic: str) -> dict[str, Any]:
        """The scene's line of metadata.jsonl."""
        return {
            "file_name": file_name,
            "text": self.text,
            "label": self.label,
            "count": len(self.things),
            "background": self.background,
            "objects": {
                "bbox": [list(thing.bbox) for thing in self.things],
                "categories": [thing.shape for thing in self.things],
                "colours": [thing.colour for thing in self.things],
            },
            "semantic": semantic,
        }


class _Disk(NamedTuple):
    x: float
    y: float
    radius: float


def words(pairs: Iterator[str] | Sequence[str]) -> str:
    """A caption: "a red star", "a red star and a blue ring", "a red star, a blue ring and a white cross"."""
    *first, last = (f"a {pair}" for pair in pairs)
    return f"{', '.join(first)} and {last}" if first else last


def draw_scene(
    index: int, size: int | tuple[int, int] = 64, seed: int = 0, exclude: Sequence[str] = (), count: int | None = None
) -> Scene:
    """Scene `index` of the endless set of a seed.

    size: side, or (height, width), in pixels; >= 32. exclude: pairs such as "red star" never drawn. count: how many
    shapes, 1 to 3, instead of the set's own choice of 1 or 2. Errors: UsageError for a size that is too small, an
    unknown or fewer than 3 allowed pairs, another count.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < SMALLEST:
        raise UsageError(
            f"shapes: scenes of {height}x{width}; at least {SMALLEST} pixels a side are needed. Ask for a larger size."
        )
    pairs = allowed(exclude)
    if len(pairs) < max(RADII) or count not in (None, *RADII):
        raise UsageError(
            f"shapes: a scene of {count or max(RADII)} shapes out of {len(pairs)} pairs; accepted: 1 to {max(RADII)} "
            f"shapes, and at least {max(RADII)} pairs. Exclude fewer pairs, or ask for fewer shapes."
        )
    chance = rng.generator(seed, "shapes/scene", index)
    number = int(chance.integers(1, USUAL, endpoint=True))
    number = count or number
    chosen = [pairs[i].split(" ") for i in chance.choice(len(pairs), number, replace=False)]
    return _render(chosen, _places(number, height, width, chance), height, width, chance)


def generate_scenes(
    count: int, size: int | tuple[int, int] = 64, seed: int = 0, exclude: Sequence[str] = ()
) -> Iterator[Scene]:
    """The first `count` scenes of a seed, in memory; arguments as in `draw_scene`."""
    return (draw_scene(index, size, seed, exclude) for index in range(count))


def _places(number: int, height: int, width: int, chance: np.random.Generator) -> list[_Disk]:
    """Disks that lie inside the image and apart, the largest first. What does not fit is drawn anew."""
    side, disks = min(height, width), list[_Disk]()
    low, high = RADII[number]
    apart = max(3.0, APART * side)
    while len(disks) < number:
        disks = []
        radii = sorted(chance.uniform(low, high, number) * side, reverse=True)
        for radius in radii:
            margin = radius + EDGE
            spots = chance.uniform((margin, margin), (width - margin, height - margin), (TRIES, 2))
            free = (x_y for x_y in spots if all(_gap(x_y, radius, disk) >= apart for disk in disks))
            spot = next(free, None)
            if spot is None:
                break
            disks.append(_Disk(float(spot[0]), float(spot[1]), float(radius)))
    return disks


def _gap(spot: Floats, radius: float, disk: _Disk) -> float:
    return float(np.hypot(spot[0] - disk.x, spot[1] - disk.y)) - radius - disk.radius


def _render(
    chosen: Sequence[Sequence[str]], disks: Sequence[_Disk], height: int, width: int, chance: np.random.Generator
) -> Scene:
    background, image = ground(height, width, chance)
    semantic, things = np.zeros((height, width), np.uint8), []
    for (colour, shape), disk in zip(chosen, disks, strict=True):
        cover = coverage(shape, height, width, *disk, chance.uniform(-1, 1) * np.deg2rad(15))
        image += cover[..., None] * (np.array(COLOURS[colour], dtype=np.float64) - image)
        inside = cover >= 0.5
        semantic[inside] = 1 + list(SHAPES).index(shape)
        things.append(Thing(shape, colour, box_of(inside)))
    return Scene(np.rint(image).astype(np.uint8), semantic, tuple(things), background)
