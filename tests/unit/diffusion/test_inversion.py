"""If these fail, the edit of a photograph begins from noise that does not lead back to it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from latentry.diffusion.inversion import along, inverted
from latentry.diffusion.levels.times import published, uniform
from latentry.diffusion.schedule import Level, build_schedule
from latentry.diffusion.solvers.ddim import ddim

SPREAD = 0.6
"""Deviation of the data: all that the denoiser below knows."""
SCHEDULE = build_schedule("scaled_linear")


def expected(x: Tensor, level: Level) -> Tensor:
    """E[x0 | x_t] of Gaussian data."""
    return level.alpha * SPREAD**2 / _variance(level) * x


def _variance(level: Level) -> float:
    return (level.alpha * SPREAD) ** 2 + level.sigma**2


def test_it_converges_to_the_path_of_the_differential_equation() -> None:
    """Of Gaussian data, the probability flow keeps x over the deviation of its level (Song et al. 2021, eq. 14)."""
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    errors = []
    for steps in (50, 100, 200, 400):
        levels = published(SCHEDULE, steps)
        end = math.sqrt(_variance(levels[0]) / _variance(levels[-1]))
        errors.append(float((inverted(expected, x, levels)[0] - end * x).norm() / x.norm()))
    assert errors[-1] < 0.02
    assert all(fine < 0.65 * coarse for coarse, fine in pairwise(errors)), errors


def test_solving_it_comes_back() -> None:
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels = uniform(SCHEDULE, 500)
    path = inverted(expected, x, levels)
    assert len(path) == len(levels)
    assert torch.equal(path[-1], x)
    *_, last = ddim(expected, path[0], levels, noise=lambda _: torch.zeros_like(x))
    assert (last.x - x).norm() < 0.05 * x.norm()


def test_it_is_the_inverse_scheduler_of_diffusers() -> None:
    """`DDIMInverseScheduler`, whose last level is its first time: the same latents from the same predicted noise."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMInverseScheduler(
        num_train_timesteps=SCHEDULE.steps, trained_betas=1 - _steps(SCHEDULE.abar).numpy(), clip_sample=False
    )
    scheduler.set_timesteps(10)
    times = [int(t) for t in scheduler.timesteps]  # rising; the step to t is from t - 100
    levels = [SCHEDULE.level(t) for t in reversed(times)]
    x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    theirs = x
    for t in times[1:]:
        eps = (theirs - SCHEDULE.level(t).alpha * expected(theirs, SCHEDULE.level(t))) / SCHEDULE.level(t).sigma
        theirs = scheduler.step(eps, t, theirs).prev_sample
    torch.testing.assert_close(inverted(expected, x, levels)[0], theirs, rtol=1e-3, atol=1e-4)


def _steps(abar: Tensor) -> Tensor:
    return torch.cat([abar[:1], abar[1:] / abar[:-1]])


def test_the_image_follows_its_inversion_to_the_bit_whatever_guides_the_edit() -> None:
    x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    levels = uniform(SCHEDULE, 10)
    walk = along(ddim, expected)
    steps = list(
        walk(
            lambda x, level: 3 * expected(x, level),
            x.expand(2, -1, -1, -1),
            levels,
            noise=lambda _: torch.zeros(2, 4, 6, 6),
        )
    )
    path = inverted(expected, x, levels)
    assert [step.index for step in steps] == list(range(10))
    assert all(torch.equal(step.x[:1], kept) for step, kept in zip(steps, path[1:], strict=True))
    assert torch.equal(steps[-1].x[:1], x)
    assert (steps[-1].x[1:] - x).abs().max() > 0.1
