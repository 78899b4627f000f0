"""DDIM for every eta between the deterministic path and ancestral sampling."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.walk import transitions, working
from latentry.kinds import KindOptions


class DDIM(KindOptions):
    """Options of DDIM."""

    kind: Literal["ddim"] = "ddim"
    eta: float = Field(0.0, ge=0, le=100, description="fresh noise per step: 0 none, 1 as much as ancestral sampling")


def ancestral(level: Level, after: Level, eta: float) -> tuple[float, float]:
    """Deviations (fresh noise, noise kept) whose squares sum to the next level's sigma^2; rising levels get none fresh.

    Source: Song et al. 2021, eq. 16, with alpha and sigma of any path.
    """
    if after.alpha == 0:
        return 0.0, after.sigma
    left = level.sigma**2 - (level.alpha * after.sigma / after.alpha) ** 2
    fresh = min(eta * after.sigma / level.sigma * math.sqrt(max(left, 0.0)), after.sigma)
    return fresh, math.sqrt(max(after.sigma**2 - fresh**2, 0.0))


@torch.no_grad()
def ddim(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, eta: float = 0.0) -> Iterator[Step]:
    """Walk x along `levels`; see `contracts.Solver`. eta: 0 deterministic, 1 ancestral.

    Source: Song et al. 2021, "Denoising diffusion implicit models", eq. 12.
    """
    x = working(x)
    for index, level, after in transitions(levels):
        x0, drawn = denoise(x, level).to(x), noise(index).to(x)
        fresh, kept = ancestral(level, after, eta)
        # Eq. 12: predicted x0, direction pointing to x_t, random noise
        x = after.alpha * x0 + kept / level.sigma * (x - level.alpha * x0) + fresh * drawn
        yield Step(index, after, x, x0)
