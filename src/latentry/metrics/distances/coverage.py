"""How much of each set lies in the other: precision, recall, density, coverage by nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from latentry.errors import UsageError

BLOCK = 1024
MOST = 1 << 20
"""Distances that are held at once, 8 MB."""
NEIGHBOURS, NEIGHBOURS_OF_COVERAGE = 3, 5
ROUNDING = 1e-13


def precision_recall(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """`precision`: share of generated within a real one's distance to its k-th neighbour; `recall`: the other way.

    real: (N, D), generated: (M, D), more than k of each. Source: Kynkäänniemi et al. 2019, equations 1 and 2.
    """
    inside, covered = _covered(real, generated, k), _covered(generated, real, k)
    return {"precision": float(inside.double().mean()), "recall": float(covered.double().mean())}


def f_score(precision: float, recall: float) -> float:
    """The harmonic mean of both."""
    return 2 * precision * recall / max(1e-5, precision + recall)


def density_coverage(real: Tensor, generated: Tensor, k: int = NEIGHBOURS_OF_COVERAGE) -> dict[str, float]:
    """`density`: real neighbourhoods that a generated one lies in, over k; `coverage`: share of those with one in it.

    For two sets of one distribution density is 1, and coverage about 1 - 2^-k for sets of one size.
    Source: Naeem et al. 2020, equations 5 and 6.
    """
    radii, count, met = neighbour_distances(real, k), 0, torch.zeros(len(real), dtype=torch.bool)
    for part in _squared(generated, real):
        within = part <= radii
        count, met = count + int(within.sum()), met | within.any(0)
    return {"density": count / (k * len(generated)), "coverage": float(met.double().mean())}


def neighbour_distances(vectors: Tensor, k: int) -> Tensor:
    """Squared distance of each vector (N, D) to its k-th nearest other one, (N,) float64."""
    if not 1 <= k < len(vectors):
        raise UsageError(f"nearest neighbours: the {k}th of {len(vectors)} vectors; more than {k} images are needed.")
    found, start = [], 0
    for part in _squared(vectors, vectors):
        rows = torch.arange(len(part))
        part[rows, start + rows] = torch.inf
        found.append(part.topk(k, 1, largest=False).values.amax(1))
        start += len(part)
    return torch.cat(found)


def _covered(manifold: Tensor, points: Tensor, k: int) -> Tensor:
    """Whether each point (Q, D) lies in the neighbourhood of any vector (N, D) of the other set, (Q,) bool."""
    radii = neighbour_distances(manifold, k)
    return torch.cat([(part <= radii).any(1) for part in _squared(points, manifold)])


def _squared(queries: Tensor, gallery: Tensor) -> Iterator[Tensor]:
    """Squared distances, some queries at a time, (q, N) float64; what rounding leaves of equal vectors is 0.

    Each is read before the next is asked for: all lie in the same memory, since an allocator that is asked for
    megabytes thousands of times may keep hundreds of them.
    """
    lengths = torch.cat([part.double().square().sum(1) for part in gallery.split(BLOCK)])
    parts = queries.split(max(1, MOST // len(gallery)))
    products, sums = (torch.empty(len(parts[0]), len(gallery), dtype=torch.float64) for _ in range(2))
    for part in parts:
        x, squared, both = part.double(), products[: len(part)], sums[: len(part)]
        for other, columns in zip(gallery.split(BLOCK), squared.split(BLOCK, 1), strict=True):
            torch.mm(x, other.double().T, out=columns)
        torch.add(x.square().sum(1)[:, None], lengths, out=both)
        torch.sub(both, squared, alpha=2, out=squared)
        yield squared.masked_fill_(squared <= both.mul_(ROUNDING), 0.0)
