"""Fréchet distance of two normal distributions: with Inception's features FID (Heusel et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from latentry.errors import UsageError
from latentry.metrics.distances.moments import Moments


class Normal(NamedTuple):
    """A normal distribution. mean: (D,). root: (R, D) with root^T root = covariance; R may be less than D. float64."""

    mean: Tensor
    root: Tensor

    @classmethod
    def from_covariance(cls, mean: Tensor, covariance: Tensor, rank: int | None = None) -> Normal:
        """By the eigenvalues of a covariance (D, D); those below rounding, or beyond the known rank, are none."""
        values, vectors = torch.linalg.eigh(covariance.double())
        least = values[-1].clamp(min=0) * len(values) * torch.finfo(torch.float64).eps
        kept = values > least
        if rank is not None and rank < len(values):
            kept[: len(values) - rank] = False
        return cls(mean.double(), values[kept].sqrt()[:, None] * vectors[:, kept].T)

    @classmethod
    def from_moments(cls, moments: Moments) -> Normal:
        return cls.from_covariance(moments.mean, moments.covariance, moments.count - 1)

    @classmethod
    def from_vectors(cls, vectors: Tensor) -> Normal:
        """Of vectors (N, D), covariance by N - 1; where N is less than D, without a matrix of D x D."""
        if len(vectors) < 2 or len(vectors) > vectors.shape[1]:
            return cls.from_moments(Moments.of(vectors))
        x = vectors.double()
        return cls(x.mean(0), (x - x.mean(0)) / (len(x) - 1) ** 0.5)


def frechet(one: Normal, other: Normal) -> float:
    """|m1 - m2|² + Tr(C1 + C2 - 2 (C1 C2)^(1/2)), at least 0 (Dowson and Landau 1982, equation 4).

    The trace of the root is the sum of the singular values of root1 root2^T: right also where samples are fewer than
    dimensions, where roots of matrices and of rounded eigenvalues lose half the digits.
    """
    if one.mean.shape != other.mean.shape:
        raise UsageError(f"distance: vectors of {len(one.mean)} and of {len(other.mean)} numbers; one width is needed.")
    common = torch.linalg.svdvals(one.root @ other.root.T).sum() if len(one.root) and len(other.root) else 0.0
    apart = (one.mean - other.mean).square().sum()
    return max(0.0, float(apart + one.root.square().sum() + other.root.square().sum() - 2 * common))
