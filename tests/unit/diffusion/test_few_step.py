"""Few-step solvers are their papers' formulas. If not, few steps give blurred or wrong images under a known name."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from latentry.diffusion.levels import LEVELS
from latentry.diffusion.levels.ratios import at_ratio
from latentry.diffusion.schedule import CLEAN, Level, Schedule, build_schedule
from latentry.diffusion.solvers import SOLVERS
from latentry.diffusion.solvers.deis import weights
from latentry.diffusion.solvers.exponential import step
from tests.unit.diffusion.gaussian import error, log_ratio_levels

SCHEDULE = build_schedule("scaled_linear")
DRAW = torch.Generator().manual_seed(1)
START, *NOISE = (torch.randn(2, 3, generator=DRAW, dtype=torch.float64) for _ in range(9))


def denoise(x: Tensor, level: Level) -> Tensor:
    return torch.tanh(x + level.t / 1000)


def ratio(level: Level) -> float:
    return level.sigma / level.alpha


def walked(solver: str, levels: list[Level], **options: Any) -> Tensor:
    *_, last = SOLVERS[solver].solve(denoise, START, levels, noise=lambda i: NOISE[i], **options)
    return last.x


def algorithm_2(levels: list[Level], churn: float, low: float, high: float, noise: float, correct: bool) -> Tensor:
    """Of Karras et al. 2022, in their variables: y = x / alpha at sigma / alpha, and D(y; sigma)."""
    times, y = [ratio(level) for level in levels], START / levels[0].alpha

    def slope(y: Tensor, sigma: float) -> Tensor:
        level = at_ratio(SCHEDULE, sigma)
        return (y - denoise(y * level.alpha, level)) / sigma

    for i, (now, after) in enumerate(pairwise(times)):
        gamma = min(churn / (len(times) - 1), math.sqrt(2) - 1) if low <= now <= high else 0.0
        higher = now + gamma * now
        y = y + math.sqrt(higher**2 - now**2) * noise * NOISE[i]
        first = slope(y, higher)
        reached = y + (after - higher) * first
        if correct and after:
            reached = y + (after - higher) * (first + slope(reached, after)) / 2
        y = reached
    return y


@pytest.mark.parametrize("churn", [0.0, 1.5, 20.0])
@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_churn_is_algorithm_2_of_edm(solver: str, churn: float) -> None:
    """Below the schedule's end, where no level is noisier; the network is told the level with the noise added."""
    levels = LEVELS["karras"](SCHEDULE, 9)[1:]
    told = {"churn_from": 0.1, "churn_to": 20.0, "churn_noise": 1.1}
    found = walked(solver, levels, churn=churn, at=partial(at_ratio, SCHEDULE), **told)
    expected = algorithm_2(levels, churn, 0.1, 20.0, 1.1, solver == "heun")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert (torch.equal(found, walked(solver, levels))) == (churn == 0)


def test_churn_adds_nothing_where_the_schedule_has_no_noisier_level() -> None:
    """At its last time, and at pure noise."""
    schedule = Schedule(torch.cat([torch.linspace(0.999, 0.01, 99, dtype=torch.float64), torch.zeros(1).double()]))
    for one in (SCHEDULE, schedule):
        levels = LEVELS["trailing"](one, 1)
        churning = walked("euler", levels, churn=1e3, at=partial(at_ratio, one))
        torch.testing.assert_close(churning, walked("euler", levels), rtol=1e-12, atol=1e-12)


def test_churn_without_a_schedule_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(ValueError, match="give `at`"):
        walked("euler", LEVELS["trailing"](SCHEDULE, 3), churn=1.0)


def test_the_level_of_a_ratio_is_that_of_training_at_its_times() -> None:
    for t in (0, 1, 500, 999):
        level = SCHEDULE.level(t)
        np.testing.assert_allclose(at_ratio(SCHEDULE, ratio(level)), level, rtol=1e-9, atol=1e-9)
    assert at_ratio(SCHEDULE, 1e9).t == 999
    assert at_ratio(SCHEDULE, 1e-9).t == 0


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0, 3.0])
def test_a_step_keeps_the_marginal_of_a_point_for_any_eta(eta: float) -> None:
    """x = alpha x0 + sigma eps goes on to be that, fresh noise and the kept together at the next sigma."""
    for level, after in pairwise([Level(0.0, 0.0, 1.0), Level(0.0, 0.6, 0.8), Level(0.0, 0.8, 0.6), CLEAN]):
        zero, one = torch.zeros(1).double(), torch.ones(1).double()
        mean = step(level.alpha * one, one, level, after, zero, eta)
        parts = [step(x, zero, level, after, noise, eta) for x, noise in ((level.sigma * one, zero), (zero, one))]
        assert float(mean) == pytest.approx(after.alpha, abs=1e-12)
        assert math.hypot(*map(float, parts)) == pytest.approx(after.sigma, abs=1e-12)
        assert (float(parts[1]) > 0) == (eta > 0 and after.sigma > 0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_weights_of_deis_are_integrals_of_polynomials(count: int) -> None:
    """By quadrature, of Lagrange's polynomials in log(sigma / alpha)."""
    levels = LEVELS["karras"](SCHEDULE, 12)
    newest, after = list(reversed(levels[4 - count : 4])), levels[4]
    places = [math.log(ratio(level)) for level in newest]
    for j, weight in enumerate(weights(newest, after)):
        others = [place for i, place in enumerate(places) if i != j]

        def polynomial(rho: float, others: list[float] = others, own: float = places[j]) -> float:
            return math.prod((math.log(rho) - other) / (own - other) for other in others)

        expected, _ = quad(polynomial, ratio(newest[0]), ratio(after))
        assert weight * ratio(newest[0]) == pytest.approx(expected, rel=1e-6)


def test_deis_of_order_three_has_it_once_it_is_under_way() -> None:
    """Its first step is of order 1; from nearly pure noise that says nothing."""
    solve = partial(SOLVERS["deis"].solve, order=3)
    errors = [error(solve, log_ratio_levels(steps, first=1e-4)) for steps in (64, 128, 256)]
    assert all(math.log2(coarse / fine) > 2.9 for coarse, fine in pairwise(errors))


def test_more_orders_are_nearer_in_few_steps() -> None:
    """What they are for: with 16 steps they are nearer to the exact result than DDIM with 64."""
    few = {name: error(SOLVERS[name].solve, log_ratio_levels(16)) for name in ("dpmpp_2m", "dpmpp_3m", "deis", "unipc")}
    assert few["unipc"] < few["dpmpp_2m"]
    assert max(few.values()) < error(SOLVERS["ddim"].solve, log_ratio_levels(64))
