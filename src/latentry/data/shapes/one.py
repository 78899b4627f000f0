"""One coloured shape on a muted background, with every truth about it known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentry import rng
from latentry.data.shapes.figures import (
    COLOURS,
    SHAPES,
    Bytes,
    allowed,
    box_of,
    check_pairs,
    coverage,
    ground,
)
from latentry.errors import UsageError


@dataclass(frozen=True)
class Drawing:
    """One image and its truth: image (H, W, 3), semantic (H, W; 0 background, k-th shape = k), bbox [x, y, w, h]."""

    image: Bytes
    semantic: Bytes
    bbox: tuple[int, int, int, int]
    shape: str
    colour: str
    background: str

    @property
    def pair(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def text(self) -> str:
        return f"a {self.pair}"

    def record(self, file_name: str, semantic: str) -> dict[str, Any]:
        """The image's line of metadata.jsonl."""
        return {
            "file_name": file_name,
            "text": self.text,
            "label": self.shape,
            "shape": self.shape,
            "colour": self.colour,
            "pair": self.pair,
            "background": self.background,
            "objects": {"bbox": [list(self.bbox)], "categories": [self.shape]},
            "semantic": semantic,
        }


def draw(
    index: int,
    size: int | tuple[int, int] = 64,
    seed: int = 0,
    exclude: Sequence[str] = (),
    shape: str = "",
    colour: str = "",
) -> Drawing:
    """Image `index` of the endless set of a seed.

    size: side, or (height, width), in pixels; >= 8. exclude: pairs such as "red star" never drawn. shape, colour: set
    together they replace the set's own choice. Errors: UsageError for an unknown word or a size that is too small.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 8:
        raise UsageError(f"shapes: size {height}x{width}; at least 8 pixels a side are needed. Ask for a larger size.")
    if shape or colour:
        check_pairs((f"{colour} {shape}",))
    else:
        pairs = allowed(exclude)
        order = rng.generator(seed, "shapes/order", index // len(pairs)).permutation(len(pairs))
        colour, shape = pairs[order[index % len(pairs)]].split(" ")
    return _render(shape, colour, height, width, rng.generator(seed, "shapes/image", index))


def _render(shape: str, colour: str, height: int, width: int, chance: np.random.Generator) -> Drawing:
    side = min(height, width)
    radius = chance.uniform(0.29, 0.41) * side
    play = min(0.1 * side, side / 2 - radius - 1)
    x, y = width / 2 + chance.uniform(-play, play), height / 2 + chance.uniform(-play, play)
    cover = coverage(shape, height, width, x, y, radius, chance.uniform(-1, 1) * np.deg2rad(15))
    background, image = ground(height, width, chance)
    image += cover[..., None] * (np.array(COLOURS[colour], dtype=np.float64) - image)
    inside = cover >= 0.5
    semantic = (inside * (1 + list(SHAPES).index(shape))).astype(np.uint8)
    return Drawing(np.rint(image).astype(np.uint8), semantic, box_of(inside), shape, colour, background)


def generate(
    count: int, size: int | tuple[int, int] = 64, seed: int = 0, exclude: Sequence[str] = ()
) -> Iterator[Drawing]:
    """The first `count` images of a seed, in memory; arguments as in `draw`."""
    return (draw(index, size, seed, exclude) for index in range(count))
