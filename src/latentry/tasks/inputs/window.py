"""The part of an image that a network works on, cut to what fits, and back into the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentry.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.models.model import Model

AROUND = 2
"""How many times as long as the hole a side of its window is, so that as much is known as is to be filled."""


@dataclass(frozen=True)
class Window:
    """A part of an image, and how much it is padded: (top, left) and (height, width) in the image, then the rows and
    columns added below and to the right of it, by reflection."""

    top: int
    left: int
    height: int
    width: int
    below: int = 0
    right: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of what the network sees."""
        return self.height + self.below, self.width + self.right

    def cut(self, image: Tensor) -> Tensor:
        """(..., H, W) of the image to (..., h, w) of the window."""
        import numpy as np
        import torch

        part = image[..., self.top : self.top + self.height, self.left : self.left + self.width]
        if not self.below and not self.right:
            return part
        edges = [(0, 0)] * (part.ndim - 2) + [(0, self.below), (0, self.right)]
        return torch.from_numpy(np.pad(part.numpy(), edges, mode="symmetric"))

    def uncut(self, part: Tensor) -> Tensor:
        """(..., h, w) without what was added."""
        return part[..., : self.height, : self.width]


def multiple_of(model: Model) -> int:
    """Of what number of pixels the sides of an image must be a multiple."""
    unet = 1 if model.denoiser is None else model.denoiser.options.unet.factor
    return model.autoencoder.factor * unet


def whole(size: tuple[int, int], multiple: int) -> Window:
    """All of an image of `size` (H, W), padded to what fits."""
    height, width = size
    return Window(0, 0, height, width, -height % multiple, -width % multiple)


def around(hole: Tensor, multiple: int, least: tuple[int, int]) -> Window:
    """A hole (H, W) and what is around it: twice its size, at least `least` (H, W), at most the image."""
    rows, columns = (hole.any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
    top, height, below = _along(rows[0], rows[-1] + 1, hole.shape[0], multiple, least[0])
    left, width, right = _along(columns[0], columns[-1] + 1, hole.shape[1], multiple, least[1])
    return Window(top, left, height, width, below, right)


def _along(first: int, last: int, side: int, multiple: int, least: int) -> tuple[int, int, int]:
    """Where a window begins along one axis, how long it is, and how much is added to it."""
    length = -(-max(AROUND * (last - first), least) // multiple) * multiple
    if length >= side:
        return 0, side, -side % multiple
    return min(max((first + last - length) // 2, 0), side - length), length, 0


def check_least(path: object, size: tuple[int, int]) -> None:
    """Raises UsageError for an image without pixels."""
    if 0 in size:
        raise UsageError(f"{path}: has no pixels; give a larger image")
