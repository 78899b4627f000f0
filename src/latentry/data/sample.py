"""What a folder says of one image, and of a batch of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentry.data.files.header import Array


class Boxes(NamedTuple):
    """corners: (N, 4) float32, left, top, right, bottom as shares of the sample's width and height, 0 to 1.
    names: of the N classes."""

    corners: NDArray[np.float32]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """One image and what its record says of it, all moved alike by one spatial transform.

    position: in the stream of training, or the index. index: of the image really used, another one if that was bad.
    pixels: (H, W, C) uint8, uint16, or float32 in [0, 1]. caption: one of the image's. label: the name of its class.
    semantic: (H, W) int64, the class of each pixel. mask: (H, W) bool. arrays: by metadata field; those whose first two
    axes are the image's height and width moved with it. What was not read, or is not there, is None (empty for caption
    and arrays).
    """

    position: int
    index: int
    flip: bool = False
    pixels: Array | None = None
    caption: str = ""
    label: str | None = None
    boxes: Boxes | None = None
    semantic: NDArray[np.int64] | None = None
    mask: NDArray[np.bool_] | None = None
    arrays: Mapping[str, Array] = field(default_factory=dict)

    @property
    def bare(self) -> Sample:
        """Which image it is, and how drawn, without what was read of it."""
        return Sample(self.position, self.index, self.flip)

    @property
    def image(self) -> Tensor:
        """(C, H, W) fp32 in [-1, 1]."""
        assert self.pixels is not None
        return torch.from_numpy(np.ascontiguousarray(to_float(self.pixels).transpose(2, 0, 1)))


FIELDS = frozenset({"image", "caption", "label", "boxes", "semantic", "mask", "arrays"})
"""What a condition may read of a sample (`Conditioner.reads`)."""


class Example(NamedTuple):
    """What a stage is trained on, the same from the loader and from cached latents.

    image: (B, C, H, W) fp32 in [-1, 1], or moments: (B, c or 2c, h, w), of the first stage. values: for each condition
    B values. positions: B positions in the stream; a position modulo the batch is the row in the global batch.
    """

    image: Tensor | None
    moments: Tensor | None
    values: dict[str, list[Any]]
    positions: list[int]


def joined(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values of several samples, by condition."""
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def to_float(pixels: Array) -> NDArray[np.float32]:
    """uint8, uint16 or float32 in [0, 1] to float32 in [-1, 1]; 0 and the largest value map to -1 and 1 exactly."""
    half = 0.5 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max) / 2
    return pixels.astype(np.float32) / np.float32(half) - np.float32(1)
