"""DPM-Solver++(2M): second order by the prediction of the step before, one network call a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.exponential import Exponential, gap, step
from latentry.diffusion.solvers.walk import transitions, working


class DPMpp2M(Exponential):
    """Options of DPM-Solver++(2M)."""

    kind: Literal["dpmpp_2m"] = "dpmpp_2m"


@torch.no_grad()
def dpmpp_2m(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, eta: float = 0.0) -> Iterator[Step]:
    """Walk x along `levels`; see `contracts.Solver`. eta: 0 deterministic, 1 the SDE.

    Source: Lu et al. 2022, "DPM-Solver++", algorithm 2, and appendix E.3 for the SDE. First order where no finite
    difference can be taken: in the first step, after pure noise, and to clean.
    """
    x = working(x)
    before: tuple[Level, Tensor] | None = None
    for index, level, after in transitions(levels):
        x0, drawn = denoise(x, level).to(x), noise(index).to(x)
        mean = x0
        if before is not None and after.sigma:
            # Algorithm 2: D = (1 + 1/2r) x0 - 1/2r x0 of the step before, r = h of that step / h
            mean = x0 + gap(level, after) / (2 * gap(before[0], level)) * (x0 - before[1])
        x, before = step(x, mean, level, after, drawn, eta), (level, x0)
        yield Step(index, after, x, x0)
