"""DPM-Solver++(3M): the predictions of the two steps before, one network call a step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.exponential import Exponential, gap, step
from latentry.diffusion.solvers.walk import transitions, working

History = list[tuple[Level, Tensor]]
"""Levels and predictions, newest first."""


class DPMpp3M(Exponential):
    """Options of DPM-Solver++(3M)."""

    kind: Literal["dpmpp_3m"] = "dpmpp_3m"


@torch.no_grad()
def dpmpp_3m(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, eta: float = 0.0) -> Iterator[Step]:
    """Walk x along `levels`; see `contracts.Solver`. eta: 0 deterministic, 1 the SDE.

    Source: Lu et al. 2022, "DPM-Solver++", section 5 and their code.
    """
    x = working(x)
    history: History = []
    for index, level, after in transitions(levels):
        x0, drawn = denoise(x, level).to(x), noise(index).to(x)
        history = [(level, x0), *history][:3]
        x = step(x, x0, level, after, drawn, eta)
        if len(history) > 1 and after.sigma:
            x = x + after.alpha * _bend(history, gap(level, after), eta)
        yield Step(index, after, x, x0)


def _bend(history: History, h: float, eta: float) -> Tensor:
    """What the slope of the predictions adds to a step of length h, in units of alpha."""
    (level, x0), (before, x0_before), *older = history
    total = (1 + eta) * h
    slope = h / gap(before, level) * (x0 - x0_before)
    if not older or not older[0][0].alpha:
        return -math.expm1(-total) / 2 * slope
    r0, r1 = gap(before, level) / h, gap(older[0][0], before) / h
    earlier = (x0_before - older[0][1]) / r1
    curve = (slope - earlier) / (r0 + r1)
    # phi_2 D1 - phi_3 D2
    phi = math.expm1(-total) / total + 1
    return phi * (slope + r0 * curve) - (phi / total - 0.5) * curve
