"""The judge of the procedural `shapes`: which shape in which colour does an image show, or none that counts?

No learned part: the background is a plane of colour fitted to the border, the foreground is what differs from it; its
colour is the nearest known one in CIELAB, its shape the best overlap with the set's own shapes after both are brought
to one centre and size, over all turns.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from latentry.data.shapes import COLOURS, SHAPES, coverage
from latentry.metrics.colour import lab

BATCH = 250
GRID = 40
"""Side of the masks that are compared."""
SPREAD = 0.42
"""Root mean square radius of a mask brought to size, as a share of half the grid."""
DIFFERS = 20.0
"""CIELAB distance from the background at which a pixel can belong to the foreground; half the least in the set, and at
least two fifths of the image's own."""
NEAR = 32.0
"""CIELAB distance beyond which a foreground has none of the known colours."""
OVERLAP = 0.72
"""Least overlap (Tanimoto) with a shape at which the foreground counts as that shape."""


class Seen(NamedTuple):
    """What one image shows; None where nothing known is recognised."""

    shape: str | None
    colour: str | None


def judge(images: Tensor) -> list[Seen]:
    """The shape and colour that each image shows: (B, 3, H, W) in [0, 1], any device, from 16 pixels."""
    return [seen for part in images.split(BATCH) for seen in _judge(part)]


def _judge(images: Tensor) -> list[Seen]:
    images = images.detach().to("cpu", torch.float32).nan_to_num(0).clamp(0, 1)
    pixels = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    ground = background(pixels)
    far = (lab(pixels.movedim(1, -1)) - lab(ground.movedim(1, -1))).norm(dim=-1)  # (B, H, W)
    differs = far > (0.4 * far.flatten(1).quantile(0.98, 1)).clamp(min=DIFFERS)[:, None, None]
    paint = foreground_colour(images, far, differs)
    mask = opacity(images, ground, paint) * blob(differs)
    overlap, best = best_overlap(mask)
    distance, nearest = torch.cdist(lab(paint), palette()).min(1)
    present = differs.float().mean((1, 2)) > 0.02
    return [
        Seen(
            list(SHAPES)[best[i]] if present[i] and overlap[i] >= OVERLAP else None,
            list(COLOURS)[nearest[i]] if present[i] and distance[i] <= NEAR else None,
        )
        for i in range(len(images))
    ]


def background(images: Tensor) -> Tensor:
    """A plane of colour fitted to the border, (B, 3, H, W); the border's outliers are left out in a second fit."""
    _, _, height, width = images.shape
    down, right = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    basis = torch.stack((torch.ones_like(down), down, right), -1).flatten(0, 1)  # (H W, 3)
    edge = max(1, min(height, width) // 32)
    border = torch.ones(height, width, dtype=torch.bool)
    border[edge:-edge, edge:-edge] = False
    values, at = images.flatten(2).movedim(1, -1)[:, border.flatten()], basis[border.flatten()]
    off = (values - values.median(1, keepdim=True).values).norm(dim=-1)
    for _ in range(2):
        weight = (off <= 2 * off.median(1, keepdim=True).values + 0.02).float()
        moments = torch.einsum("bn,ni,nj->bij", weight, at, at) + 1e-4 * torch.eye(3)
        plane = torch.linalg.solve(moments, torch.einsum("bn,ni,bnc->bic", weight, at, values))
        off = (values - at @ plane).norm(dim=-1)
    return (basis @ plane).movedim(1, -1).unflatten(-1, (height, width)).clamp(0, 1)


def foreground_colour(images: Tensor, far: Tensor, differs: Tensor) -> Tensor:
    """The middle colour of the half of the foreground that differs most from the background, (B, 3)."""
    pixels = images.flatten(2).movedim(1, -1)
    colours = []
    for distance, inside, values in zip(far.flatten(1), differs.flatten(1), pixels, strict=True):
        keep = inside & (distance >= distance[inside].quantile(0.5)) if inside.any() else distance >= 0
        colours.append(values[keep].median(0).values)
    return torch.stack(colours)


def opacity(images: Tensor, ground: Tensor, paint: Tensor, empty: float = 0.15) -> Tensor:
    """How far each pixel lies on the way from background to foreground colour, (B, H, W) in [0, 1]; `empty` is 0."""
    way = paint[:, :, None, None] - ground
    share = ((images - ground) * way).sum(1) / way.square().sum(1).clamp(min=1e-4)
    return ((share - empty) / (1 - empty)).clamp(0, 1)


def blob(differs: Tensor) -> Tensor:
    """1 within the neighbourhood of pixels that surely differ, else 0: specks and noise must not shift the shape."""
    sure = functional.avg_pool2d(differs.float()[:, None], 5, stride=1, padding=2) > 0.5
    return functional.max_pool2d(sure.float(), 5, stride=1, padding=2)[:, 0]


def normalised(mask: Tensor) -> Tensor:
    """Masks (B, H, W) brought to one centre of mass and one root mean square radius, (B, GRID * GRID)."""
    _, height, width = mask.shape
    down, right = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    mass = mask.sum((1, 2)).clamp(min=1e-6)
    x, y = (mask * right).sum((1, 2)) / mass, (mask * down).sum((1, 2)) / mass
    square = (right - x[:, None, None]).square() + (down - y[:, None, None]).square()
    half = ((mask * square).sum((1, 2)) / mass).sqrt().clamp(min=1) / SPREAD
    zero = torch.zeros_like(x)
    rows = (half / width * 2, zero, 2 * x / width - 1, zero, half / height * 2, 2 * y / height - 1)
    theta = torch.stack(rows, -1).unflatten(-1, (2, 3))
    grid = functional.affine_grid(theta, [len(mask), 1, GRID, GRID], align_corners=False)
    return functional.grid_sample(mask[:, None], grid, align_corners=False).flatten(1)


@cache
def templates(turns: int = 36) -> tuple[Tensor, Tensor]:
    """Every shape at every turn as `normalised` shows it: masks (N, GRID * GRID) and the shape's number (N,)."""
    sharp = [coverage(shape, 96, 96, 48, 48, 40, turn * 2 * np.pi / turns) for shape in SHAPES for turn in range(turns)]
    number = torch.arange(len(SHAPES)).repeat_interleave(turns)
    return normalised(torch.tensor(np.stack(sharp), dtype=torch.float32)), number


@cache
def palette() -> Tensor:
    """The known colours in CIELAB, (8, 3)."""
    return lab(torch.tensor(list(COLOURS.values())) / 255)


def best_overlap(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The greatest Tanimoto overlap of masks (B, H, W) with any shape, (B,), and that shape's number, (B,)."""
    masks, (shapes, number) = normalised(mask), templates()
    common = masks @ shapes.T
    overlap = common / (masks.square().sum(1)[:, None] + shapes.square().sum(1) - common).clamp(min=1e-6)
    value, best = overlap.max(1)
    return value, number[best]
