"""Ancestral sampling, as in denoising diffusion probabilistic models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from latentry.bounds import Share
from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.ddim import ancestral
from latentry.diffusion.solvers.walk import transitions, working
from latentry.kinds import KindOptions

VARIANCES = {"posterior": 0.0, "beta": 1.0}
"""Those of Ho et al. 2020, section 3.2, as shares of beta."""


class DDPM(KindOptions):
    """Options of ancestral sampling."""

    kind: Literal["ddpm"] = "ddpm"
    variance: Literal["posterior", "beta"] | Share | None = Field(
        None, description="of the fresh noise: `posterior`, `beta`, or beta's share between them; null: the schedule's"
    )


def share_of_beta(variance: str | float | None, v_posterior: float) -> float:
    """How much of beta an option `variance` means. v_posterior: what the model's schedule says, where it is None."""
    if variance is None:
        return v_posterior
    return VARIANCES[variance] if isinstance(variance, str) else variance


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
    denoise: Denoise,
    x: Tensor,
    levels: Sequence[Level],
    *,
    noise: Noise,
    variance: str | float | None = None,
    v_posterior: float = 0.0,
) -> Iterator[Step]:
    """Draw each x from the posterior q(x' | x, x0) at the predicted x0; see `contracts.Solver`.

    That is DDIM with eta = 1, on any subset of levels. variance: `beta`, or 1, draws with variance beta instead, what
    is between with a mean of both; None: v_posterior, as a model's schedule says. Posterior is exact where the data
    are one point, beta where they are standard normal. Source: Ho et al. 2020, algorithm 2 and section 3.2.
    """
    x, share = working(x), share_of_beta(variance, v_posterior)
    for index, level, after in transitions(levels):
        x0, drawn = denoise(x, level).to(x), noise(index).to(x)
        fresh, kept = deviations(level, after, share)
        x = after.alpha * x0 + kept / level.sigma * (x - level.alpha * x0) + fresh * drawn
        yield Step(index, after, x, x0)
