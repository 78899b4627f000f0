"""Rectangles of a map that is too large to be worked on at once, in whole pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Window(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the ends not among them."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    def of(self, map: Tensor) -> Tensor:
        """This part of a map (..., H, W)."""
        return map[..., self.top : self.bottom, self.left : self.right]

    def grown(self, margin: int) -> Window:
        """With `margin` pixels more on each side, which may lie outside the map."""
        return Window(self.top - margin, self.bottom + margin, self.left - margin, self.right + margin)

    def times(self, factor: int) -> Window:
        """The same rectangle of a map `factor` times as large."""
        return Window(*(side * factor for side in self))

    def within(self, height: int, width: int) -> Window:
        """The part of it inside a map (height, width)."""
        return Window(max(self.top, 0), min(self.bottom, height), max(self.left, 0), min(self.right, width))


def cover(height: int, width: int, side: int) -> Iterator[Window]:
    """Squares of `side` that meet without overlap, row by row; those at the right and bottom may be smaller."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Window(top, min(top + side, height), left, min(left + side, width))


def starts(length: int, side: int, overlap: int) -> list[int]:
    """Where tiles of `side` begin along `length`, evenly spread, each over its neighbour by `overlap` or more."""
    if side >= length:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return [i * (length - side) // (count - 1) for i in range(count)]
