"""Filling holes with a denoiser that was never trained for it: what is known of x_t is put in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.process import q_sample
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.walk import raised, working

Solve = Callable[..., Iterator[Step]]


def latent_hole(hole: Tensor, factor: int) -> Tensor:
    """(B, 1, H, W) bool of pixels to (B, 1, H / factor, W / factor): a latent that a hole touches is unknown."""
    squares = hole.unflatten(3, (-1, factor)).unflatten(2, (-1, factor))  # (B, 1, h, factor, w, factor)
    return squares.any(5).any(3)


def replaced(denoise: Denoise, latent: Tensor, hole: Tensor, noise: Tensor) -> Denoise:
    """Predict x0 of the hole with what is around it in view.

    latent: (B, c, h, w), scaled and clean; what it holds in the hole is never seen. hole: (B, 1, h, w) bool, True where
    it is unknown. noise: (B, c, h, w), standard normal.
    The network sees the latent at the level of x_t outside the hole, whatever x holds there, with the same noise at all
    levels: fresh noise at each, as published, makes what is drawn less varied than it should be. The x0 returned is the
    latent outside the hole, so that a solver's result is too.
    Source: Lugmayr et al. 2022, "RePaint", eq. 8.
    """

    def known(x: Tensor, level: Level) -> Tensor:
        seen = torch.where(hole, x, q_sample(latent, noise, level.alpha, level.sigma).to(x))  # (B, c, h, w)
        return torch.where(hole, denoise(seen, level), latent.to(x))

    return known


def resampled(solve: Solve, times: int) -> Solve:
    """A solver that takes each step `times` times: after all but the last it goes back up with fresh noise.

    By replacement alone the hole is matched to its surroundings only as they show through the noise of each level;
    every further pass brings the two closer. One `Step` for each pair of levels, as of the solver itself, which it is
    for 1. Draws that belong to no step of the walk have numbers from the number of steps on.
    Source: Lugmayr et al. 2022, section 4.2, algorithm 1.
    """
    if times == 1:
        return solve

    @torch.no_grad()
    def walk(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, **process: Any) -> Iterator[Step]:
        x, steps = working(x), len(levels) - 1
        for index in range(steps):
            for again in range(times):
                drawn = _numbered(noise, index + 2 * again * steps)
                step = next(solve(denoise, x, levels[index:], noise=drawn, **process))
                last = again == times - 1
                x = step.x if last else raised(step.x, levels[index + 1], levels[index], drawn(steps).to(x))
            yield step._replace(index=index)

    return walk


def _numbered(noise: Noise, first: int) -> Noise:
    return lambda index: noise(first + index)
