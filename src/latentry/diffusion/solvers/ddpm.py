"""Ancestral sampling, as in denoising diffusion probabilistic models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.ddim import ancestral
from latentry.diffusion.solvers.walk import transitions, working
from latentry.kinds import KindOptions


class DDPM(KindOptions):
    """Ancestral sampling has no options."""

    kind: Literal["ddpm"] = "ddpm"


def deviations(level: Level, after: Level, v_posterior: float) -> tuple[float, float]:
    """Deviations (fresh noise, noise kept). v_posterior: share of the step's beta in the variance of the fresh noise.

    The rest of it is the posterior's; what is kept is the posterior's mean for every share. The last step has none.
    """
    fresh, kept = ancestral(level, after, eta=1.0)
    if v_posterior and after.sigma and after.alpha:
        beta = max(1 - (level.alpha / after.alpha) ** 2, 0.0)
        fresh = math.sqrt((1 - v_posterior) * fresh**2 + v_posterior * beta)
    return fresh, kept


@torch.no_grad()
def ddpm(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, v_posterior: float = 0.0
) -> Iterator[Step]:
    """Draw each x from the posterior q(x' | x, x0) at the predicted x0; see `contracts.Solver`.

    That is DDIM with eta = 1, on any subset of levels. v_posterior: 1 draws with variance beta instead, what is between
    with a mean of both, as a model's schedule says. Source: Ho et al. 2020, algorithm 2 and section 3.2.
    """
    x = working(x)
    for index, level, after in transitions(levels):
        x0, drawn = denoise(x, level).to(x), noise(index).to(x)
        fresh, kept = deviations(level, after, v_posterior)
        x = after.alpha * x0 + kept / level.sigma * (x - level.alpha * x0) + fresh * drawn
        yield Step(index, after, x, x0)
