"""Heun's method as of EDM: Euler's step, and the mean of the slopes at both of its ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.euler import At, Churned, churned
from latentry.diffusion.solvers.walk import along, noise_in, transfer, transitions, working


class Heun(Churned):
    """Options of Heun's method."""

    kind: Literal["heun"] = "heun"


def twice(levels: Sequence[Level]) -> list[int]:
    """Calls of each step: two, but one in the last and from pure noise."""
    return [1 + (level.alpha > 0 and index + 2 < len(levels)) for index, level in enumerate(levels[:-1])]


@torch.no_grad()
def heun(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, at: At | None = None, **churn: Any
) -> Iterator[Step]:
    """Walk x along `levels`; see `contracts.Solver`. Two network calls a step, see `twice`. at, churn: as of `euler`.

    Source: Karras et al. 2022, "Elucidating the design space of diffusion-based generative models", algorithm 2.
    """
    x, asked, calls = working(x), Heun(**churn), twice(levels)
    for index, level, after in transitions(levels):
        x, higher = churned(x, level, len(levels) - 1, noise(index).to(x), at, asked)
        x0 = denoise(x, higher).to(x)
        reached = transfer(x, x0, higher, after)
        if calls[index] == 2:
            # Lines 9 to 11: dx/d(sigma/alpha) of x/alpha is eps
            slopes = noise_in(x0, x, higher) + noise_in(denoise(reached, after).to(x), reached, after)
            reached = along(x, slopes / 2, higher, after)
        x = reached
        yield Step(index, after, x, x0)
