"""The step of DPM-Solver++: the linear part of the process exactly, the prediction held along log(alpha/sigma)."""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor

from latentry.diffusion.schedule import Level
from latentry.kinds import KindOptions


class Exponential(KindOptions):
    """Options of the solvers that can also follow the stochastic process."""

    eta: float = Field(0.0, ge=0, le=100, description="fresh noise: 0 none (the probability flow), 1 the process's own")


def gap(level: Level, after: Level) -> float:
    """h = lambda' - lambda, lambda = log(alpha/sigma); infinite from pure noise and to clean."""
    ratio = level.alpha * after.sigma
    return -math.log(ratio / (level.sigma * after.alpha)) if ratio else math.inf


def kept(level: Level, after: Level, eta: float) -> tuple[float, float]:
    """(factor of x, deviation of the fresh noise) of a step; levels that rise get no noise.

    Source: Lu et al. 2022, "DPM-Solver++", eq. 9 (eta 0) and 18 (eta 1), without a division by what may be zero.
    """
    left = math.exp(-eta * gap(level, after)) if eta and level.sigma > after.sigma else 1.0
    return after.sigma / level.sigma * left, after.sigma * math.sqrt(1 - left**2)


def step(x: Tensor, x0: Tensor, level: Level, after: Level, noise: Tensor, eta: float) -> Tensor:
    """x at the level after, for an x0 that does not change on the way; for eta 0 and 1 that is the step of DDIM."""
    of_x, fresh = kept(level, after, eta)
    return of_x * x + (after.alpha - level.alpha * of_x) * x0 + fresh * noise
