"""Nearest images: by pixels at a small size, or by any other vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 32
CHUNK = 256


def small(images: Tensor, side: int = SIDE) -> Tensor:
    """Pixels of images (B, C, H, W), averaged down to side x side, as vectors (B, C * side * side)."""
    return functional.interpolate(images.float(), size=(side, side), mode="area").flatten(1)


def distances(queries: Tensor, gallery: Tensor) -> Tensor:
    """Euclidean distances of vectors (Q, D) to vectors (N, D): (Q, N); some queries at a time."""
    return torch.cat([torch.cdist(part.double(), gallery.double()) for part in queries.split(CHUNK)])


def ranks(queries: Tensor, gallery: Tensor, right: Tensor) -> Tensor:
    """How many of the gallery are nearer to each query than the right one, (Q,) int64: 0 where it is the nearest.

    queries: (Q, D). gallery: (N, D). right: (Q,) int64, the row of each query's own in the gallery.
    """
    distance = distances(queries, gallery)
    own = distance.gather(1, right[:, None])
    return (distance < own).sum(1)


def share_within(queries: Tensor, gallery: Tensor, right: Tensor, k: int = 10) -> float:
    """Share of queries whose right vector is among the k nearest of the gallery; chance is k / N."""
    return float((ranks(queries, gallery, right) < k).double().mean())


def nearest(queries: Tensor, gallery: Tensor) -> Tensor:
    """Distance of each query (Q, D) to the nearest of the gallery (N, D), (Q,)."""
    return distances(queries, gallery).min(1).values
