"""Ancestral sampling, as in denoising diffusion probabilistic models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.ddim import ddim
from latentry.kinds import KindOptions


class DDPM(KindOptions):
    """Ancestral sampling has no options."""

    kind: Literal["ddpm"] = "ddpm"


def ddpm(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise) -> Iterator[Step]:
    """Draw each x from the posterior q(x' | x, x0) at the predicted x0; see `contracts.Solver`.

    That is DDIM with eta = 1, on any subset of levels. Source: Ho et al. 2020, algorithm 2.
    """
    return ddim(denoise, x, levels, noise=noise, eta=1.0)
