"""The judge of procedural scenes: which shapes an image shows, each with its place and colour, and what each pixel is.

As the judge of one shape (`metrics.shapes`), for every connected part of what differs from the background's plane.
"""

from __future__ import annotations

from functools import cache
from math import pi
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from latentry.data.shapes import COLOURS, SHAPES, coverage
from latentry.metrics.colour import lab
from latentry.metrics.shapes import BATCH, DIFFERS, NEAR, OVERLAP, background, best_overlap, opacity, palette

SPECK = 0.006
"""Least area of a shape as a share of the squared shorter side; a third of the smallest in the set."""
UNKNOWN = -1
"""In a map: a pixel of something that is no known shape."""


class Found(NamedTuple):
    """One part of an image. bbox: x, y, w, h in pixels; shape, colour: None where it is none of the known ones."""

    bbox: tuple[int, int, int, int]
    shape: str | None
    colour: str | None


class Seen(NamedTuple):
    """What one image shows. things: the largest first. semantic: (H, W) int64, 0 background, k-th shape = k."""

    things: tuple[Found, ...]
    semantic: Tensor


def look(images: Tensor) -> list[Seen]:
    """What each image shows: (B, 3, H, W) in [0, 1], any device, from 32 pixels."""
    return [seen for part in images.split(BATCH) for seen in _look(part)]


def largest(seen: Seen) -> Found | None:
    """What has the largest disk around it, by which scenes are ordered: of two of one disk a star has half a circle's
    area. None where there is nothing."""

    def squared_radius(found: Found) -> float:
        left, top, width, height = found.bbox
        number = UNKNOWN if found.shape is None else 1 + list(SHAPES).index(found.shape)
        area = int((seen.semantic[top : top + height, left : left + width] == number).sum())
        return area / (pi if found.shape is None else areas()[found.shape])

    return max(seen.things, key=squared_radius, default=None)


@cache
def areas() -> dict[str, float]:
    """The area of each shape in a disk of radius 1."""
    return {shape: float(coverage(shape, 200, 200, 100, 100, 90, 0).sum()) / 90**2 for shape in SHAPES}


def _look(images: Tensor) -> list[Seen]:
    images = images.detach().to("cpu", torch.float32).nan_to_num(0).clamp(0, 1)
    ground = background(images)
    far = (lab(images.movedim(1, -1)) - lab(ground.movedim(1, -1))).norm(dim=-1)  # (B, H, W)
    numbers = components(far > DIFFERS)
    return [_seen(*parts) for parts in zip(images, ground, far, numbers, strict=True)]


def components(mask: Tensor) -> Tensor:
    """Number the connected parts (over sides and corners) of maps (B, H, W) bool: int64, 0 outside, one number a part.

    Each pixel takes the greatest number around it, and then that of the pixel of this number, until none changes.
    """
    places = torch.arange(1, mask[0].numel() + 1).view(1, *mask.shape[1:])
    exact = torch.float32 if mask[0].numel() < 2**24 else torch.float64
    numbers = torch.where(mask, places, 0)
    while True:
        around = functional.max_pool2d(numbers[:, None].to(exact), 3, stride=1, padding=1)[:, 0] * mask
        flat = around.long().flatten(1)
        further = (flat.gather(1, (flat - 1).clamp(min=0)) * mask.flatten(1)).view_as(numbers)
        if torch.equal(further, numbers):
            return numbers
        numbers = further


def _seen(image: Tensor, ground: Tensor, far: Tensor, numbers: Tensor) -> Seen:
    least, semantic = SPECK * min(far.shape) ** 2, torch.zeros_like(numbers)
    names, counts = numbers[numbers > 0].unique(return_counts=True)
    masks, insides, paints = [], [], []
    for name in names[counts > least]:
        part = numbers == name
        paint = image[:, part & (far >= far[part].median())].median(1).values  # (3,)
        around = (_grown(part) & ((numbers == 0) | part)).float()
        mask = opacity(image[None], ground[None], paint[None], empty=0)[0] * around
        if (mask >= 0.5).sum() > least:
            masks.append(mask)
            insides.append(mask >= 0.5)
            paints.append(paint)
    if not masks:
        return Seen((), semantic)
    overlap, best = best_overlap(torch.stack(masks))
    away, nearest = torch.cdist(lab(torch.stack(paints)), palette()).min(1)
    things = []
    for i in sorted(range(len(masks)), key=lambda i: -int(insides[i].sum())):
        known = bool(overlap[i] >= OVERLAP)
        semantic[insides[i]] = 1 + int(best[i]) if known else UNKNOWN
        shape, colour = list(SHAPES)[best[i]], list(COLOURS)[nearest[i]]
        things.append(Found(_box(insides[i]), shape if known else None, colour if away[i] <= NEAR else None))
    return Seen(tuple(things), semantic)


def _grown(part: Tensor) -> Tensor:
    return functional.max_pool2d(part.float()[None], 5, stride=1, padding=2)[0] > 0


def _box(inside: Tensor) -> tuple[int, int, int, int]:
    rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top
