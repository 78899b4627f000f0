"""Multistep consistency: to the clean end in one step, up again with fresh noise, and down once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.walk import transitions, working
from latentry.kinds import KindOptions


class Consistency(KindOptions):
    """It has no options."""

    kind: Literal["consistency"] = "consistency"


@torch.no_grad()
def consistency(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise) -> Iterator[Step]:
    """Walk x along `levels`; see `contracts.Solver`. denoise: of a distilled model, which gives not the mean of the
    clean latents but the one at the end of the probability flow.

    With another model it goes wrong: every step begins anew from a mean.
    Source: Song et al. 2023, "Consistency models", algorithm 1.
    """
    x = working(x)
    for index, level, after in transitions(levels):
        x0, drawn = denoise(x, level).to(x), noise(index).to(x)
        x = after.alpha * x0 + after.sigma * drawn
        yield Step(index, after, x, x0)
