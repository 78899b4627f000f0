"""DEIS: the last predictions of the noise as a polynomial in log(sigma/alpha), integrated exactly."""

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
from latentry.diffusion.solvers.walk import noise_in, transfer, transitions, working
from latentry.kinds import KindOptions


class DEIS(KindOptions):
    """Options of DEIS."""

    kind: Literal["deis"] = "deis"
    order: int = Field(2, ge=1, le=3, description="how many predictions a step uses")


def weights(levels: Sequence[Level], after: Level) -> list[float]:
    """Of the eps of `levels`, newest first: the integrals of their Lagrange polynomials in u = log(sigma/alpha).

    From the newest level to the one after, over d(sigma/alpha) = e^u du (Zhang and Chen 2023, eq. 15, with rho for t).
    """
    places = [math.log(level.sigma / level.alpha) for level in levels]
    end = math.log(after.sigma / after.alpha) - places[0]
    moments: list[float] = []  # of e^u (u - u_0)^k, by parts, in units of the newest sigma/alpha
    for k in range(len(places)):
        whole = math.exp(end) * end**k - (k == 0)
        moments.append(whole - k * moments[-1] if k else whole)
    powers = np.vander([place - places[0] for place in places], increasing=True).T
    return [float(weight) for weight in np.linalg.solve(powers, moments)]


@torch.no_grad()
def deis(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, order: int = 2) -> Iterator[Step]:
    """Walk x along `levels` without fresh noise; see `contracts.Solver`. order: how many predictions a
    step uses; 1 is DDIM.

    Source: Zhang and Chen 2023, "Fast sampling of diffusion models with exponential integrator", section 3.3 (tAB), in
    log(sigma/alpha). First order after pure noise and to clean.
    """
    x = working(x)
    history: list[tuple[Level, Tensor]] = []  # newest first
    for index, level, after in transitions(levels):
        noise(index)  # every solver draws, so that the same seeds mean the same images after a change of solver
        x0 = denoise(x, level).to(x)
        if level.alpha == 0 or after.sigma == 0:
            x = transfer(x, x0, level, after)
        else:
            history = [(level, noise_in(x0, x, level)), *history][:order]
            # Eq. 14: x'/alpha' = x/alpha + the integral of eps over sigma/alpha
            shares = weights([one for one, _ in history], after)
            moved = sum(share * eps for share, (_, eps) in zip(shares, history, strict=True))
            x = after.alpha / level.alpha * (x + level.sigma * moved)
        yield Step(index, after, x, x0)
