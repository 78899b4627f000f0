"""The words of the procedural sets and what they look like: shapes, colours, backgrounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

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


def coverage(shape: str, height: int, width: int, x: float, y: float, radius: float, angle: float) -> Floats:
    """How much of each pixel the shape covers, (height, width) in [0, 1].

    shape: a key of SHAPES. x, y, radius: centre and radius of its disk in pixels. angle: turn in radians, clockwise.
    """
    down, right = np.meshgrid(np.arange(height) + 0.5 - y, np.arange(width) + 0.5 - x, indexing="ij")
    turn_x, turn_y = np.cos(angle) / radius, np.sin(angle) / radius
    distance = SHAPES[shape](right * turn_x + down * turn_y, down * turn_x - right * turn_y)
    return np.clip(0.5 - distance * radius, 0, 1)


def ground(height: int, width: int, chance: np.random.Generator) -> tuple[str, Floats]:
    """A background's name, and its picture (H, W, 3) in 0 to 255: one colour, a little lighter to one side."""
    name = list(BACKGROUNDS)[chance.integers(len(BACKGROUNDS))]
    slope_x, slope_y = chance.uniform(-0.06, 0.06, size=2)
    light = 1 + slope_x * np.linspace(-1, 1, width) + slope_y * np.linspace(-1, 1, height)[:, None]
    picture: Floats = light[..., None] * np.array(BACKGROUNDS[name], dtype=np.float64)
    return name, picture


def box_of(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The box [x, y, w, h] of the True pixels of a map (H, W)."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


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
