"""The procedural dataset `shapes`: one coloured shape on a muted background, with every truth about it known.

Image i of a seed depends on (seed, i) and the allowed pairs alone, so a longer set begins with the shorter one.
Pairs of colour and shape come in shuffled rounds of all allowed ones: any set is balanced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentry import rng
from latentry.errors import UsageError, did_you_mean

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]


def _polygon(x: Floats, y: Floats, corners: int, inner: float) -> Floats:
    """Distance to a star of outer radius 1 and inner radius `inner`: fold into half a point, then one edge."""
    half = np.pi / corners
    angle = np.abs((np.arctan2(x, -y) + half) % (2 * half) - half)
    reach = np.hypot(x, y)
    normal = np.array([inner * np.sin(half), 1 - inner * np.cos(half)])
    normal /= np.hypot(*normal)
    distance: Floats = (reach * np.cos(angle) - 1) * normal[0] + reach * np.sin(angle) * normal[1]
    return distance


def _cross(x: Floats, y: Floats) -> Floats:
    across, along = np.minimum(np.abs(x), np.abs(y)), np.maximum(np.abs(x), np.abs(y))
    distance: Floats = np.maximum(across - 0.3, along - 0.93)
    return distance


SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "circle": lambda x, y: np.hypot(x, y) - 0.88,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 0.72,
    "triangle": lambda x, y: _polygon(x, y, 3, 0.5),
    "star": lambda x, y: _polygon(x, y, 5, 0.42),
    "cross": _cross,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.72) - 0.2,
}
"""Signed distance (negative inside) to each shape within the unit disk; x to the right, y down."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 32, 38),
    "yellow": (250, 222, 40),
    "green": (24, 140, 54),
    "cyan": (60, 215, 225),
    "blue": (32, 70, 205),
    "pink": (240, 95, 185),
    "white": (250, 250, 250),
    "black": (18, 18, 22),
}
"""sRGB; at least 40 apart from each other and from every background in CIELAB."""

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "grey": (128, 128, 128),
    "tan": (150, 130, 106),
    "sage": (108, 130, 110),
    "slate": (98, 110, 134),
}

PAIRS: tuple[str, ...] = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
"""Every colour with every shape, 48: `pair` in the metadata, by which a split can keep whole pairs out of training."""


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


def coverage(shape: str, height: int, width: int, x: float, y: float, radius: float, angle: float) -> Floats:
    """How much of each pixel the shape covers, (height, width) in [0, 1].

    shape: a key of SHAPES. x, y, radius: centre and radius of its disk in pixels. angle: turn in radians, clockwise.
    """
    down, right = np.meshgrid(np.arange(height) + 0.5 - y, np.arange(width) + 0.5 - x, indexing="ij")
    turn_x, turn_y = np.cos(angle) / radius, np.sin(angle) / radius
    distance = SHAPES[shape](right * turn_x + down * turn_y, down * turn_x - right * turn_y)
    return np.clip(0.5 - distance * radius, 0, 1)


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
    background = list(BACKGROUNDS)[chance.integers(len(BACKGROUNDS))]
    slope_x, slope_y = chance.uniform(-0.06, 0.06, size=2)
    light = 1 + slope_x * np.linspace(-1, 1, width) + slope_y * np.linspace(-1, 1, height)[:, None]
    ground = light[..., None] * np.array(BACKGROUNDS[background], dtype=np.float64)
    mixed = ground + cover[..., None] * (np.array(COLOURS[colour], dtype=np.float64) - ground)
    inside = cover >= 0.5
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    left, top = int(columns[0]), int(rows[0])
    bbox = (left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)
    semantic = (inside * (1 + list(SHAPES).index(shape))).astype(np.uint8)
    return Drawing(np.rint(mixed).astype(np.uint8), semantic, bbox, shape, colour, background)


def check_pairs(pairs: Sequence[str]) -> None:
    """Check words such as "red star"; UsageError names the first that no image can show."""
    for pair in pairs:
        if pair not in PAIRS:
            raise UsageError(
                f'shapes: pair "{pair}"; known: a colour ({", ".join(COLOURS)}) and a shape ({", ".join(SHAPES)})'
                f'{did_you_mean(pair, PAIRS)}. Write it as in "red star".'
            )


def allowed(exclude: Sequence[str]) -> tuple[str, ...]:
    """All pairs but the excluded ones, in the order of PAIRS."""
    check_pairs(exclude)
    left = tuple(pair for pair in PAIRS if pair not in set(exclude))
    if not left:
        raise UsageError(f"shapes: all {len(PAIRS)} pairs are excluded; at least one must stay. Exclude fewer pairs.")
    return left


def generate(
    count: int, size: int | tuple[int, int] = 64, seed: int = 0, exclude: Sequence[str] = ()
) -> Iterator[Drawing]:
    """The first `count` images of a seed, in memory; arguments as in `draw`."""
    return (draw(index, size, seed, exclude) for index in range(count))


def record(drawing: Drawing, file_name: str, semantic: str) -> dict[str, Any]:
    """The image's line of metadata.jsonl."""
    return {
        "file_name": file_name,
        "text": drawing.text,
        "label": drawing.shape,
        "shape": drawing.shape,
        "colour": drawing.colour,
        "pair": drawing.pair,
        "background": drawing.background,
        "objects": {"bbox": [list(drawing.bbox)], "categories": [drawing.shape]},
        "semantic": semantic,
    }


def write(
    out: str | Path, count: int, size: int | tuple[int, int] = 64, seed: int = 0, exclude: Sequence[str] = ()
) -> None:
    """Write the set as a data folder: images/, semantic/, semantic_classes.json, metadata.jsonl.

    The same arguments give the same bytes. The metadata comes last, so a broken-off folder has none. Errors: UsageError
    for a count below 1 and as in `draw`.
    """
    if count < 1:
        raise UsageError(f"shapes: count {count}; at least 1 image is needed. Ask for more.")
    out, lines = Path(out), []
    for index, drawing in enumerate(generate(count, size, seed, exclude)):
        name = f"{index:06d}.png"
        if index == 0:
            for folder in ("images", "semantic"):
                (out / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing.image).save(out / "images" / name)
        Image.fromarray(drawing.semantic).save(out / "semantic" / name)
        lines.append(json.dumps(record(drawing, f"images/{name}", f"semantic/{name}")))
    classes = {0: "background"} | dict(enumerate(SHAPES, 1))
    (out / "semantic_classes.json").write_text(json.dumps(classes) + "\n", encoding="utf-8")
    (out / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
