"""The nearest training images of each query, also mirrored, in one pass over the training images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 256
"""Queries that are compared at once."""
NOBODY = -1
"""Own row of a query that is not a training image."""
ROUNDING = 1e-11
"""Of squared lengths: what is left of equal vectors that a network made in other batches."""


@dataclass(frozen=True)
class Queries:
    """plain, mirrored: vectors of images and of their mirror images, (Q, parts, D). own: (Q,) int64, the row that each
    query has in the training set and is held out from, or NOBODY."""

    plain: Tensor
    mirrored: Tensor
    own: Tensor

    @classmethod
    def of(cls, plain: Tensor, mirrored: Tensor, own: Tensor | None = None) -> Queries:
        """own: rows; None: none of them is a training image."""
        return cls(plain, mirrored, torch.full((len(plain),), NOBODY) if own is None else own)


@dataclass(frozen=True)
class Neighbours:
    """Of each query its nearest training images, nearest first.

    distances: (Q, k) float64, inf where there are fewer. rows: (Q, k) int64, in the training set. mirrored: (Q, k)
    bool, whether it is the query's mirror image that is so near.
    """

    distances: Tensor
    rows: Tensor
    mirrored: Tensor


def nearest(queries: Queries, training: Iterable[Tensor], k: int, numbers: Tensor | None = None) -> Neighbours:
    """The k nearest of training images, whose vectors come as (b, parts, D), to each query as it is or mirrored.

    The distance is that of the part that differs most. An image held out (`own`) is held out with its exact copies.
    numbers: (N,) int64, by which training images are called; None: 0, 1, ...
    """
    count = len(queries.plain)
    best = torch.full((count, k), torch.inf, dtype=torch.float64)
    rows, flips = torch.full((count, k), NOBODY), torch.zeros(count, k, dtype=torch.bool)
    start = 0
    for chunk in training:
        end = start + len(chunk)
        called = torch.arange(start, end) if numbers is None else numbers[start:end]
        for at in range(0, count, BLOCK):
            part = slice(at, at + BLOCK)
            distance, flipped = _either(queries, part, chunk)
            own = queries.own[part, None]
            held_out = (own != NOBODY) & ((called == own) | (distance == 0))
            together = torch.cat((best[part], distance.masked_fill(held_out, torch.inf)), 1)
            best[part], order = together.topk(k, 1, largest=False)
            rows[part] = torch.cat((rows[part], called.expand(len(own), -1)), 1).gather(1, order)
            flips[part] = torch.cat((flips[part], flipped), 1).gather(1, order)
        start = end
    return Neighbours(best, rows, flips)


def _either(queries: Queries, part: slice, chunk: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (q, b) of queries to training images, and whether it is the mirror image's."""
    plain, mirrored = (_distances(side[part], chunk) for side in (queries.plain, queries.mirrored))
    return torch.minimum(plain, mirrored), mirrored < plain


def _distances(queries: Tensor, chunk: Tensor) -> Tensor:
    """(q, b) float64: the greatest Euclidean distance among the parts; what rounding leaves of equal ones is 0."""
    worst = torch.zeros(len(queries), len(chunk), dtype=torch.float64)
    for x, y in zip(queries.double().unbind(1), chunk.double().unbind(1), strict=True):
        both = x.square().sum(1)[:, None] + y.square().sum(1)
        squared = both - 2 * (x @ y.T)
        torch.maximum(worst, torch.where(squared <= ROUNDING * both, 0.0, squared), out=worst)
    return worst.sqrt()
