"""What every solver does the same way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from latentry.diffusion.schedule import Level


def working(x: Tensor) -> Tensor:
    """x in the precision solvers compute in: float32, or float64 if that is what x is."""
    return x if x.dtype == torch.float64 else x.float()


def transitions(levels: Sequence[Level]) -> Iterator[tuple[int, Level, Level]]:
    """(step index, level now, level next). Raises `ValueError` if a clean level is not the last one.

    A clean level has no noise to remove: a task that rises again must add noise itself and start a new walk.
    """
    if any(level.sigma == 0 for level in levels[:-1]):
        raise ValueError("levels: a clean level (sigma = 0) before the last; a solver cannot leave it")
    for index, (level, after) in enumerate(pairwise(levels)):
        yield index, level, after


def once(levels: Sequence[Level]) -> list[int]:
    """How often the denoiser is called in each step: by most solvers once."""
    return [1] * (len(levels) - 1)


def noise_in(x0: Tensor, x: Tensor, level: Level) -> Tensor:
    """The eps of x = alpha x0 + sigma eps."""
    return (x - level.alpha * x0) / level.sigma


def transfer(x: Tensor, x0: Tensor, level: Level, after: Level) -> Tensor:
    """x at the level after, for the same x0 and eps (Liu et al. 2022, eq. 11: the step of DDIM)."""
    return after.alpha * x0 + after.sigma / level.sigma * (x - level.alpha * x0)


def along(x: Tensor, eps: Tensor, level: Level, after: Level) -> Tensor:
    """The same for an eps that is not that of a prediction at x, such as a mean of several. alpha is not 0."""
    return after.alpha / level.alpha * (x - level.sigma * eps) + after.sigma * eps


def raised(x: Tensor, level: Level, higher: Level, noise: Tensor) -> Tensor:
    """x of a level with as much noise as a higher one has. Source: Ho et al. 2020, eq. 2, over several steps."""
    kept = higher.alpha / level.alpha
    return kept * x + math.sqrt(max(higher.sigma**2 - (kept * level.sigma) ** 2, 0.0)) * noise
