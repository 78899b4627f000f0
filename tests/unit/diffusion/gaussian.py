"""A data distribution whose perfect denoiser is known, and what a solver makes of it, without sampling error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Step
from latentry.diffusion.schedule import CLEAN, Level

MEAN = torch.tensor([0.7, -0.4], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.9, 0.35], [0.35, 0.4]], dtype=torch.float64)

Solve = Callable[..., Iterator[Step]]


def denoise(x: Tensor, level: Level) -> Tensor:
    """E[x0 | x_t] for x0 ~ N(MEAN, COVARIANCE). x: (B, 2)."""
    of_x = level.alpha**2 * COVARIANCE + level.sigma**2 * torch.eye(2, dtype=torch.float64)
    gain = level.alpha * torch.linalg.solve(of_x, COVARIANCE)
    return MEAN + (x - level.alpha * MEAN) @ gain


def marginal(level: Level) -> tuple[Tensor, Tensor]:
    """Exact mean and covariance of x at a level."""
    eye = torch.eye(2, dtype=torch.float64)
    return level.alpha * MEAN, level.alpha**2 * COVARIANCE + level.sigma**2 * eye


def propagate(solve: Solve, levels: Sequence[Level], by: Denoise = denoise) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a solver's result for x drawn from the exact marginal at the first level.

    Every solver is affine in its start and its noises when the denoiser is affine, so a batch of unit vectors, one for
    each coordinate of the start and of each step's noise, gives the whole map.
    """
    steps, start = len(levels) - 1, marginal(levels[0])
    rows = 1 + 2 * (1 + steps)
    x = torch.zeros(rows, 2, dtype=torch.float64)
    x[1:3] = torch.eye(2, dtype=torch.float64)

    def noise(index: int) -> Tensor:
        drawn = torch.zeros_like(x)
        drawn[3 + 2 * index : 5 + 2 * index] = torch.eye(2, dtype=torch.float64)
        return drawn

    *_, last = solve(by, x, levels, noise=noise)
    offset, columns = last.x[0], last.x[1:] - last.x[0]
    of_start, of_noise = columns[:2], columns[2:]
    return offset + start[0] @ of_start, of_start.T @ start[1] @ of_start + of_noise.T @ of_noise


def error(solve: Solve, levels: Sequence[Level]) -> float:
    """Distance of the result's mean and covariance from the exact ones at the last level."""
    mean, covariance = propagate(solve, levels)
    exact_mean, exact_covariance = marginal(levels[-1])
    return math.hypot(float((mean - exact_mean).norm()), float((covariance - exact_covariance).norm()))


def log_ratio_levels(steps: int, first: float = 0.01, last: float = 50.0) -> list[Level]:
    """Variance-preserving levels uniform in log(alpha/sigma); none of them clean."""
    ratios = torch.linspace(math.log(first), math.log(last), steps + 1, dtype=torch.float64).exp().tolist()
    return [Level(0.0, r / math.hypot(1, r), 1 / math.hypot(1, r)) for r in ratios]


def pure_noise_levels(steps: int) -> list[Level]:
    """Variance-preserving from alpha = 0 exactly to clean."""
    angles = [math.pi / 2 * i / steps for i in range(1, steps)]
    return [Level(1.0, 0.0, 1.0), *(Level(0.0, math.sin(a), math.cos(a)) for a in angles), CLEAN]


def flow_levels(steps: int) -> list[Level]:
    """The straight path alpha = 1 - sigma, from alpha = 0 to clean."""
    return [*(Level(0.0, i / steps, 1 - i / steps) for i in range(steps)), CLEAN]
