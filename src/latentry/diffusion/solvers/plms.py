"""PLMS: a linear multistep over the last predictions of the noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.walk import noise_in, transfer, transitions, working
from latentry.kinds import KindOptions

# Adams-Bashforth weights of the newest prediction and those before it (Liu et al. 2022, eq. 12), by how many there are.
WEIGHTS = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


class PLMS(KindOptions):
    """PLMS has no options."""

    kind: Literal["plms"] = "plms"


def first_twice(levels: Sequence[Level]) -> list[int]:
    """Calls of each step: one, and one more in the first that averages."""
    averages = [level.alpha != 0 != after.sigma for level, after in pairwise(levels)]
    return [1 + (averages.index(True) == i if any(averages) else 0) for i in range(len(averages))]


@torch.no_grad()
def plms(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise) -> Iterator[Step]:
    """Walk x along `levels` without fresh noise; see `contracts.Solver`.

    One network call a step, two in the first. As published the weights take the levels for evenly spaced, which makes
    it of second order elsewhere. Source: Liu et al. 2022, "Pseudo numerical methods for diffusion models on manifolds".
    """
    x = working(x)
    history: list[Tensor] = []  # newest first
    for index, level, after in transitions(levels):
        noise(index)  # every solver draws, so that the same seeds mean the same images after a change of solver
        x0 = denoise(x, level).to(x)
        if level.alpha == 0 or after.sigma == 0:  # no finite eps -> x0 from here, or nothing left to average
            x = transfer(x, x0, level, after)
            yield Step(index, after, x, x0)
            continue
        eps = noise_in(x0, x, level)
        recent = [eps, *history]
        if history:
            mean = sum(w * e for w, e in zip(WEIGHTS[len(recent) - 1], recent, strict=True))
        else:
            # Improved Euler, the mean of both ends; the last level is never given to the network.
            reached, end = transfer(x, x0, level, after), after if index + 2 < len(levels) else level
            mean = (eps + noise_in(denoise(reached, end).to(x), reached, end)) / 2
        history = recent[: len(WEIGHTS) - 1]
        x0 = (x - level.sigma * mean) / level.alpha
        x = transfer(x, x0, level, after)
        yield Step(index, after, x, x0)
