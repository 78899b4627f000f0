"""Intervals of a number: by subsets for what compares two sets, by the bootstrap for a mean over images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from latentry import rng

WIDTH = 1.96
"""Deviations to each side of an interval of 95%."""
LARGEST = 1000
DRAWS = 20

Interval = tuple[float, float]


def deviations(
    compute: Callable[[Tensor, Tensor], Mapping[str, float]],
    real: Tensor,
    generated: Tensor,
    draws: int = DRAWS,
    seed: int = 0,
    largest: int = LARGEST,
) -> dict[str, float]:
    """By how much the numbers of `compute` vary with the choice of both sets' vectors: a standard deviation each.

    Subsets of half the vectors, at most `largest`, without replacement: resampling with replacement makes copies, which
    neighbour distances and ranks of covariances take for real ones. A subset of m of n varies by (n - m) / m more
    than the whole (Politis and Romano 1994; exact for means).
    """
    sets, found = (real, generated), list[Mapping[str, float]]()
    sizes = [max(2, min(len(x) // 2, largest)) for x in sets]
    share = max(size / len(x) for size, x in zip(sizes, sets, strict=True))
    for draw in range(draws):
        rows = [rng.generator(seed, "subsets", i, draw).permutation(len(x))[: sizes[i]] for i, x in enumerate(sets)]
        found.append(compute(*(x[torch.as_tensor(row)] for x, row in zip(sets, rows, strict=True))))
    scale = (share / (1 - share)) ** 0.5 if share < 1 else 1.0
    return {name: float(np.std([one[name] for one in found], ddof=1)) * scale for name in found[0]}


def around(value: float, deviation: float, lowest: float, highest: float) -> Interval:
    """95% about a value, inside what the number can be."""
    return max(lowest, value - WIDTH * deviation), min(highest, value + WIDTH * deviation)


def bootstrap_mean(values: Tensor, draws: int = 1000, seed: int = 0) -> Interval:
    """95% of the means of values (N,) of single images, drawn with replacement (Efron 1979)."""
    x = values.double().numpy()
    rows = rng.generator(seed, "bootstrap").integers(len(x), size=(draws, len(x)))
    low, high = np.quantile(x[rows].mean(1), (0.025, 0.975))
    return float(low), float(high)


def share_interval(found: int, count: int) -> Interval:
    """95% about a share of so many found among the count (Wilson 1927); inside 0 and 1 also where none or all are."""
    share, square = found / count, WIDTH**2 / count
    middle = (share + square / 2) / (1 + square)
    half = (square * (share * (1 - share) + square / 4)) ** 0.5 / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)
