"""DDIM and ancestral sampling are the papers' formulas. If not, published models would give other images."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from latentry.diffusion.schedule import CLEAN, Level, from_betas
from latentry.diffusion.solvers.ddim import ancestral, ddim
from latentry.diffusion.solvers.ddpm import ddpm
from tests.unit.diffusion.gaussian import marginal, propagate, pure_noise_levels

BETAS = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64) ** 2
NOISE = torch.randn(1000, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
START = torch.randn(2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def denoise(x: Tensor, level: Level) -> Tensor:
    return torch.tanh(x + level.t / 1000)


def ho_et_al() -> Tensor:
    """Algorithm 2 of Ho et al. 2020 with the posterior of eq. 7, written with betas and abar only."""
    abar = torch.cumprod(1 - BETAS, 0)
    x = START
    for i, t in enumerate(reversed(range(1000))):
        before = abar[t - 1] if t else torch.ones((), dtype=torch.float64)
        x0 = torch.tanh(x + t / 1000)
        mean = before.sqrt() * BETAS[t] / (1 - abar[t]) * x0
        mean = mean + (1 - BETAS[t]).sqrt() * (1 - before) / (1 - abar[t]) * x
        x = mean + (BETAS[t] * (1 - before) / (1 - abar[t])).sqrt() * NOISE[i]
    return x


@pytest.mark.parametrize("solve", [partial(ddim, eta=1.0), ddpm], ids=["ddim eta 1", "ddpm"])
def test_all_levels_with_full_noise_are_ancestral_sampling(solve) -> None:
    schedule = from_betas(BETAS)
    levels = [*(schedule.level(t) for t in reversed(range(1000))), CLEAN]
    *_, last = solve(denoise, START, levels, noise=lambda i: NOISE[i])
    torch.testing.assert_close(last.x, ho_et_al(), rtol=1e-12, atol=1e-12)


def test_ddim_is_the_published_step() -> None:
    """Song et al. 2021, eq. 12 and 16, in abar; eta 0.3 so that all three terms count."""
    abar, before, eta = 0.2, 0.5, 0.3
    level, after = (Level(0.0, math.sqrt(a), math.sqrt(1 - a)) for a in (abar, before))
    (step,) = ddim(denoise, START, [level, after], noise=lambda i: NOISE[0], eta=eta)
    x0 = torch.tanh(START)
    eps = (START - math.sqrt(abar) * x0) / math.sqrt(1 - abar)
    sigma = eta * math.sqrt((1 - before) / (1 - abar)) * math.sqrt(1 - abar / before)
    expected = math.sqrt(before) * x0 + math.sqrt(1 - before - sigma**2) * eps + sigma * NOISE[0]
    torch.testing.assert_close(step.x, expected, rtol=1e-14, atol=1e-14)
    assert torch.equal(step.x0, x0)


def test_ancestral_steps_keep_the_next_marginal_for_any_eta() -> None:
    """A perfect denoiser of a point leaves the noise at exactly the next level's sigma, from pure noise too."""
    for eta in (0.0, 0.4, 1.0, 1.7):
        for level, after in pairwise(pure_noise_levels(7)):
            assert math.hypot(*ancestral(level, after, eta)) == pytest.approx(after.sigma, abs=1e-15)


def test_rising_levels_follow_the_deterministic_path_up_to_pure_noise() -> None:
    """A task that inverts an image: no NaN, and no fresh noise whatever eta says."""
    up = [Level(0.0, 0.8, 0.6), Level(0.0, 0.28, 0.96), Level(0.0, 0.0, 1.0)]
    steps = list(ddim(denoise, START, up, noise=lambda i: torch.full_like(START, 9.0), eta=1.0))
    x0 = torch.tanh(START)
    torch.testing.assert_close(steps[0].x, 0.28 * x0 + 0.96 * (START - 0.8 * x0) / 0.6)
    assert steps[-1].x.isfinite().all()


def test_the_gaussian_the_table_tests_use_is_right() -> None:
    """The sweep over solvers rests on it: with one tiny step nothing may move."""
    level = Level(0.0, 0.6, 0.8)
    mean, covariance = propagate(ddim, [level, level])
    torch.testing.assert_close(mean, marginal(level)[0])
    torch.testing.assert_close(covariance, marginal(level)[1])
