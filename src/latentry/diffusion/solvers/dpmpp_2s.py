"""DPM-Solver++(2S): second order in steps of two levels, of which the first is the point between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.exponential import Exponential, gap, step
from latentry.diffusion.solvers.walk import transitions, working


class DPMpp2S(Exponential):
    """Options of DPM-Solver++(2S)."""

    kind: Literal["dpmpp_2s"] = "dpmpp_2s"


@torch.no_grad()
def dpmpp_2s(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, eta: float = 0.0) -> Iterator[Step]:
    """Walk x along `levels`; see `contracts.Solver`. eta: 0 deterministic, 1 the SDE.

    A step goes over two levels with one network call at each, so that calls are counted as of every solver; what is
    yielded at the level between is of first order. Source: Lu et al. 2022, "DPM-Solver++", algorithm 1.
    """
    x = working(x)
    start: tuple[Level, Tensor, Tensor] | None = None  # level, x and x0 from which a step of two levels begins
    for index, level, after in transitions(levels):
        x0, drawn = denoise(x, level).to(x), noise(index).to(x)
        if start is None or start[0].alpha == 0 or after.sigma == 0:
            x, start = step(x, x0, level, after, drawn, eta), (level, x, x0)
        else:
            first, x_first, x0_first = start
            # Algorithm 1: D = (1 - 1/2r) x0 of the start + 1/2r x0, r = the part of the step that lies behind
            mean = x0_first + gap(first, after) / (2 * gap(first, level)) * (x0 - x0_first)
            x, start = step(x_first, mean, first, after, drawn, eta), None
        yield Step(index, after, x, x0)
