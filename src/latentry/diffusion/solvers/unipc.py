"""UniPC: a multistep prediction, corrected by the network's call at where it led, which the next step needs anyway."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.exponential import gap
from latentry.diffusion.solvers.walk import transfer, transitions, working
from latentry.kinds import KindOptions

History = list[tuple[Level, Tensor]]
"""Levels and predictions, newest first."""


class UniPC(KindOptions):
    """Options of UniPC."""

    kind: Literal["unipc"] = "unipc"
    order: int = Field(2, ge=1, le=3, description="of the prediction; the correction makes it one more")


def moved(x: Tensor, history: History, after: Level, reached: Tensor | None = None) -> Tensor:
    """x of the newest level of the history at the level after. reached: the prediction there, where it is known.

    Source: Zhao et al. 2023, "UniPC", eq. 3 (UniC) and 5 (UniP) for predictions of x0, with B(h) = e^-h - 1.
    """
    level, newest = history[0]
    h = -gap(level, after)
    slopes, places = [], []
    for earlier, x0 in history[1:]:
        places.append(gap(level, earlier) / -h)
        slopes.append((x0 - newest) / places[-1])
    if reached is not None:
        places.append(1.0)
        slopes.append(reached - newest)
    base = transfer(x, newest, level, after)
    if not slopes:
        return base
    shares = weights(places, h)
    return base - after.alpha * math.expm1(h) * sum(share * s for share, s in zip(shares, slopes, strict=True))


def weights(places: Sequence[float], h: float) -> list[float]:
    """a of eq. 4 (R a = b). A single one is 1/2 for every h, as published."""
    if len(places) == 1:
        return [0.5]
    phi, moments = math.expm1(h) / h - 1, []
    for k in range(1, len(places) + 1):
        moments.append(phi * math.factorial(k) / math.expm1(h))
        phi = phi / h - 1 / math.factorial(k + 1)
    powers = np.vander(places, increasing=True).T
    return [float(weight) for weight in np.linalg.solve(powers, moments)]


@torch.no_grad()
def unipc(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, order: int = 2) -> Iterator[Step]:
    """Walk x along `levels` without fresh noise; see `contracts.Solver`. order: of the prediction, 1 to 3.

    What is yielded is not corrected yet, for that takes a network call more. As published the order falls to 1 in the
    last steps to clean. Source: Zhao et al. 2023, "UniPC: a unified predictor-corrector framework", algorithm 1.
    """
    x, last = working(x), len(levels) - 1
    history: History = []
    start: tuple[Tensor, History] | None = None  # what the last step began with, to be corrected
    for index, level, after in transitions(levels):
        noise(index)  # every solver draws, so that the same seeds mean the same images after a change of solver
        x0 = denoise(x, level).to(x)
        if start is not None:
            x = moved(*start, level, x0)
        if level.alpha == 0 or after.sigma == 0:
            x = transfer(x, x0, level, after)
        else:
            history = [(level, x0), *history][:order]
            start = x, history[: last - index] if levels[-1].sigma == 0 else history
            x = moved(*start, after)
        yield Step(index, after, x, x0)
