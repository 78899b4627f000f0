"""Kernel distance, unbiased: with Inception's features KID (Binkowski et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentry.errors import UsageError

BLOCK = 1024
Rows = tuple[NDArray[np.int64], NDArray[np.int64]]


class Spread(NamedTuple):
    """Mean and population deviation over subsets or splits."""

    mean: float
    deviation: float


def mmd2(real: Tensor, generated: Tensor, degree: int = 3, offset: float = 1.0) -> float:
    """Unbiased squared maximum mean discrepancy of vectors (N, D) and (M, D) with the kernel (x.y / D + offset)^degree.

    Below 0 as often as above where both are of one distribution. Source: Gretton et al. 2012, equation 3.
    """
    n, m = len(real), len(generated)
    if min(n, m) < 2 or real.shape[1] != generated.shape[1]:
        raise UsageError(
            f"kernel distance: vectors {tuple(real.shape)} and {tuple(generated.shape)}; two of one width."
        )

    def kernel(products: Tensor) -> float:  # in their own memory
        return float(products.div_(real.shape[1]).add_(offset).pow_(degree).sum())

    def total(a: Tensor, b: Tensor) -> float:
        return sum(kernel(x.double() @ y.double().T) for x in a.split(BLOCK) for y in b.split(BLOCK))

    def own(a: Tensor) -> float:  # without the pairs of a vector and itself
        return total(a, a) - sum(kernel(x.double().square().sum(1)) for x in a.split(BLOCK))

    return own(real) / (n * (n - 1)) + own(generated) / (m * (m - 1)) - 2 * total(real, generated) / (n * m)


def subset_rows(real: int, generated: int, subsets: int = 100, size: int = 1000, seed: int = 2020) -> list[Rows]:
    """Row numbers (real, generated) of each subset, drawn as torch-fidelity draws them, so that figures agree.

    real, generated: how many vectors there are. size: of a subset, at most as many as there are of either.
    """
    if size > min(real, generated):
        raise UsageError(f"kernel distance: subsets of {size} from {real} and {generated} vectors; no more than those.")
    draw, rows = np.random.RandomState(seed), []
    for _ in range(subsets):
        second = draw.choice(generated, size, replace=False)
        rows.append((draw.choice(real, size, replace=False), second))
    return rows


def kid(real: Tensor, generated: Tensor, rows: Iterable[Rows]) -> Spread:
    """`mmd2` of each subset (`subset_rows`), mean and deviation."""
    found = [mmd2(real[torch.as_tensor(a)], generated[torch.as_tensor(b)]) for a, b in rows]
    return Spread(float(np.mean(found)), float(np.std(found)))
