"""What the figures of all tasks are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentry.data.shapes import Scene, draw_scene
from latentry.metrics import psnr
from latentry.metrics.scenes import Seen, look

UNSEEN = 1_000_000
"""Added to a seed, for scenes that no recipe trains on."""
SHOWN = 10


class Figure(NamedTuple):
    """wanted: the least value, or the greatest where `most`; None for one that is only told."""

    name: str
    value: float
    wanted: float | None
    most: bool = False

    @property
    def ok(self) -> bool:
        return self.wanted is None or (self.value <= self.wanted if self.most else self.value >= self.wanted)

    @property
    def bound(self) -> str:
        return f"at {'most' if self.most else 'least'} {self.wanted:g}"


@dataclass(frozen=True)
class Asked:
    """How many requests, of which seed, and how they are sampled; None: as the model says. data: a folder of images.

    worse: the model that autoguidance leads away from; None: an earlier checkpoint.
    """

    count: int
    seed: int
    steps: int | None
    guidance: float | None
    data: Path | None = None
    worse: str | None = None

    def scenes(
        self, size: int | tuple[int, int] = 64, count: int | None = None, shapes: int | None = None, set_: int = 1
    ) -> list[Scene]:
        """Scenes that no recipe trains on; shapes: how many in each; set_: another number, other scenes."""
        seed = set_ * UNSEEN + self.seed
        return [draw_scene(index, size, seed, count=shapes) for index in range(count or self.count)]

    @property
    def how(self) -> dict[str, float]:
        chosen = {"steps": self.steps, "guidance": self.guidance}
        return {"seed": self.seed, **{name: value for name, value in chosen.items() if value is not None}}


Measured = tuple[list[Figure], Tensor]
"""Figures, and the images of a sheet (N, 3, H, W), a row of SHOWN for what was asked and for what came."""


def pictures(scenes: Sequence[Scene]) -> Tensor:
    """(B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack([scene.image for scene in scenes])).movedim(-1, 1) / 255


def rows(*columns: Tensor) -> Tensor:
    """The first pictures, those of the second below those of the first, ..."""
    return torch.cat([column[:SHOWN] for column in columns])


def judge_itself(real: Tensor, scenes: Sequence[Scene]) -> Figure:
    """How often the judge is right on the real images of the requests."""
    return Figure("judge right on real images", share_of_captions(look(real), scenes), 0.99)


def share_of_captions(seen: Sequence[Seen], scenes: Sequence[Scene]) -> float:
    """The share of images that show just the pairs of colour and shape of their scene."""
    found = [sorted(f"{thing.colour} {thing.shape}" for thing in one.things) for one in seen]
    return float(np.mean([a == sorted(t.pair for t in scene.things) for a, scene in zip(found, scenes, strict=True)]))


def corners(boxes: Sequence[tuple[int, int, int, int]]) -> list[list[float]]:
    """x, y, w, h as left, top, right, bottom."""
    return [[x, y, x + w, y + h] for x, y, w, h in boxes]


def mean_psnr(x: Tensor, y: Tensor) -> float:
    """Mean over images, each at most 100 dB."""
    return float(psnr(x, y, 1.0).clamp(max=100).mean())


def pillow(images: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [0, 1] as pictures of 8 bits."""
    array = (images * 255).round().byte().movedim(1, -1).numpy()
    return [Image.fromarray(picture) for picture in array]


def saved(images: Tensor, folder: Path) -> Iterator[Path]:
    """A PNG of each."""
    for number, picture in enumerate(pillow(images)):
        path = folder / f"{number:04d}.png"
        picture.save(path)
        yield path
