"""Euler's method as of EDM: DDIM, with noise added before each step and removed by it (churn)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.walk import raised, transfer, transitions, working
from latentry.kinds import KindOptions

MOST = math.sqrt(2) - 1
"""Of a level's sigma/alpha, how much churn adds at most (Karras et al. 2022, algorithm 2)."""
ROUNDING = 1e-9
At = Callable[[float], Level]
"""sigma/alpha -> the level of the model's schedule where it is that, or its noisiest."""


class Churned(KindOptions):
    """Options of the solvers that add noise as they go."""

    churn: float = Field(0.0, ge=0, le=1e6, description="noise added over all steps, EDM's S_churn; 0 none")
    churn_from: float = Field(0.0, ge=0, le=1e6, description="the least sigma/alpha at which it is added, S_tmin")
    churn_to: float = Field(1e6, ge=0, le=1e6, description="the greatest sigma/alpha at which it is added, S_tmax")
    churn_noise: float = Field(1.0, ge=0, le=100, description="its deviation, S_noise")


class Euler(Churned):
    """Options of Euler's method."""

    kind: Literal["euler"] = "euler"


def churned(x: Tensor, level: Level, steps: int, drawn: Tensor, at: At | None, asked: Churned) -> tuple[Tensor, Level]:
    """x and its level with the noise of one of so many steps added. at: the level of a sigma/alpha, needed for churn.

    Source: Karras et al. 2022, algorithm 2, lines 4 to 6.
    """
    ratio = level.sigma / level.alpha if level.alpha else math.inf
    if not asked.churn or not asked.churn_from <= ratio <= asked.churn_to:
        return x, level
    if at is None:
        raise ValueError("churn: needs the levels of the schedule; give `at`")
    higher = at(ratio * (1 + min(asked.churn / steps, MOST)))
    if higher.sigma / higher.alpha <= ratio * (1 + ROUNDING):  # the schedule ends here
        return x, level
    return raised(x, level, higher, asked.churn_noise * drawn), higher


@torch.no_grad()
def euler(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, at: At | None = None, **churn: Any
) -> Iterator[Step]:
    """Walk x along `levels`; see `contracts.Solver`. Without churn that is DDIM.

    at: of `churned`. churn: options of `Churned`.
    Source: Karras et al. 2022, "Elucidating the design space of diffusion-based generative models", algorithm 2
    without its second order correction.
    """
    x, asked = working(x), Euler(**churn)
    for index, level, after in transitions(levels):
        x, higher = churned(x, level, len(levels) - 1, noise(index).to(x), at, asked)
        x0 = denoise(x, higher).to(x)
        x = transfer(x, x0, higher, after)
        yield Step(index, after, x, x0)
