"""If these fail, a distilled model is taught another end than that of the path that its teacher draws along, or its
samples are of another distribution than the images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.stats import norm
from torch import Tensor, nn

from latentry.diffusion.consistency import CLEAN, angles, consistency_loss, gap, log_ratios, moved, nearer, times
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.process import q_sample
from latentry.diffusion.schedule import Level, build_schedule
from latentry.diffusion.solvers import SOLVERS
from latentry.kinds import build
from tests.unit.diffusion.gaussian import COVARIANCE, MEAN, denoise, propagate

SCHEDULE = build_schedule("scaled_linear")


def path_end(x: Tensor, level: Level) -> Tensor:
    """Where the probability flow of Gaussian data ends: what x is of its level's deviation, it is of the data's.

    x: (B, 2). In the covariance's own directions every coordinate by itself.
    """
    variances, directions = torch.linalg.eigh(COVARIANCE)
    gain = (variances / (level.alpha**2 * variances + level.sigma**2)).sqrt()
    return MEAN + ((x - level.alpha * MEAN) @ directions * gain) @ directions.T


def solve(name: str):
    return build(SOLVERS, SOLVERS[name].options(kind=name))


def test_the_closed_form_is_where_the_flow_of_an_independent_integrator_ends() -> None:
    """scipy: d(x / alpha) = eps d(sigma / alpha)."""
    level, start = SCHEDULE.level(999), torch.tensor([[1.3, -0.8]], dtype=torch.float64)

    def slope(ratio: float, scaled: np.ndarray) -> np.ndarray:
        alpha = 1 / math.hypot(1, ratio)
        at = Level(0.0, alpha, ratio * alpha)
        x = torch.from_numpy(scaled)[None] * alpha
        return ((x - at.alpha * denoise(x, at)) / at.sigma)[0].numpy()

    ratio = level.sigma / level.alpha
    found = solve_ivp(slope, (ratio, 1e-6), (start / level.alpha)[0].numpy(), rtol=1e-7, atol=1e-8).y[:, -1]
    torch.testing.assert_close(torch.from_numpy(found)[None], path_end(start, level), rtol=1e-5, atol=1e-5)


def test_one_step_of_the_consistency_function_is_fifty_of_dpmpp_2m() -> None:
    x = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, *_ = levels = LEVELS["exponential"](SCHEDULE, 50)
    *_, last = solve("dpmpp_2m")(denoise, x, levels, noise=lambda i: torch.zeros(()))
    one = LEVELS["trailing"](SCHEDULE, 1)
    (step,) = solve("consistency")(path_end, x, one, noise=lambda i: torch.zeros(()))
    torch.testing.assert_close(step.x, path_end(x, first), rtol=0, atol=1e-12)
    assert (step.x - last.x).abs().max() < 5e-3


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
@pytest.mark.parametrize("levels", ["trailing", "uniform", "karras"])
def test_samples_have_the_distribution_of_the_data_in_any_number_of_steps(levels: str, steps: int) -> None:
    """Exactly, whatever the levels: a consistency function makes no error that more steps would mend."""
    mean, covariance = propagate(solve("consistency"), LEVELS[levels](SCHEDULE, steps), path_end)
    torch.testing.assert_close(mean, MEAN, rtol=0, atol=1e-12)
    torch.testing.assert_close(covariance, COVARIANCE, rtol=0, atol=1e-12)


def test_a_denoiser_in_its_place_narrows_them() -> None:
    """So that nobody takes it for a solver of ordinary models."""
    _, covariance = propagate(solve("consistency"), LEVELS["trailing"](SCHEDULE, 2))
    assert torch.linalg.det(covariance) < 0.5 * torch.linalg.det(COVARIANCE)


def test_the_gap_begins_with_the_whole_path_and_halves_at_even_distances_and_is_held() -> None:
    gaps = [gap(step, 240, 5, 0.5) for step in range(240)]
    assert [gaps.count(2.0**-k) for k in range(6)] == [24] * 5 + [120]
    assert gaps == sorted(gaps, reverse=True)
    assert gap(0, 10, 0, 0.5) == gap(9, 10, 0, 0.5) == 1
    assert gap(9, 10, 20, 0.0) == 2.0**-18


@pytest.mark.parametrize("kind", ["scaled_linear", "cosine"])
def test_the_nearer_point_lies_as_far_as_the_gap_says_and_always_before_the_other(kind: str) -> None:
    schedule = build_schedule(kind)
    turned, t = angles(schedule), torch.arange(schedule.steps)
    assert torch.equal(nearer(turned, t, 1.0), torch.full_like(t, CLEAN))
    assert torch.equal(nearer(turned, t, 2.0**-20), t - 1)
    for share in (0.5, 0.25, 0.1):
        r = nearer(turned, t, share)
        assert bool((r < t).all())
        inside = r[(r != CLEAN) & (r < t - 1)]
        wanted = turned[t[(r != CLEAN) & (r < t - 1)]] * (1 - share)
        assert bool((turned[inside] <= wanted).all())
        assert bool((turned[inside + 1] > wanted).all())


def test_a_schedule_that_ends_in_pure_noise_turns_by_a_right_angle() -> None:
    """Where sigma / alpha is infinite and no ratio could be halved."""
    abar = torch.linspace(0.99, 0, 50, dtype=torch.float64).tolist()
    schedule = build_schedule({"kind": "table", "abar": abar})
    assert float(angles(schedule)[-1]) == pytest.approx(math.pi / 2, abs=1e-12)
    x, x0 = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    of = [[one.double() for one in schedule.at(torch.tensor([t]))] for t in (49, 20)]
    now, then = [(alpha, sigma) for alpha, sigma in of]
    torch.testing.assert_close(moved(x, x0, now, then), then[0] * x0 + then[1] * x)


def test_moving_along_the_path_keeps_the_noise_and_is_a_step_of_ddim() -> None:
    generator = torch.Generator().manual_seed(2)
    x0, eps = torch.randn(2, 5, 3, 2, 2, generator=generator)
    t, r = torch.tensor([999, 700, 400, 100, 1]), torch.tensor([998, 350, 0, 50, 0])
    now, then = SCHEDULE.at(t), SCHEDULE.at(r)
    torch.testing.assert_close(
        moved(q_sample(x0, eps, *now), x0, now, then), q_sample(x0, eps, *then), rtol=0, atol=2e-5
    )
    for row in range(5):
        one, levels = slice(row, row + 1), [SCHEDULE.level(int(each[row])) for each in (t, r)]
        (step,) = solve("ddim")(lambda x, _, one=one: x0[one], eps[one], levels, noise=lambda i: torch.zeros(()))
        torch.testing.assert_close(moved(eps, x0, now, then)[one], step.x, rtol=0, atol=2e-5)


def test_the_loss_is_a_length_or_a_square_by_its_constant() -> None:
    """Its limits, each over sigma, and its gradient where both ends agree, at which a root alone has none."""
    generator, sigma = torch.Generator().manual_seed(3), torch.tensor([0.1, 0.2, 0.5, 1.0], dtype=torch.float64)
    a, b = torch.randn(2, 4, 3, 8, 8, generator=generator)
    length = (a - b).flatten(1).norm(dim=1).double()
    torch.testing.assert_close(consistency_loss(a, b, sigma, 1e-6), length / sigma, rtol=1e-4, atol=0)
    square = length**2 / (2 * 30 * math.sqrt(a[0].numel())) / sigma
    torch.testing.assert_close(consistency_loss(a, b, sigma, 30.0), square, rtol=0.01, atol=0)
    same = a.clone().requires_grad_()
    consistency_loss(same, a, sigma, 0.00054).sum().backward()
    assert same.grad is not None
    assert not same.grad.any()


def test_times_are_drawn_by_a_normal_distribution_of_log_sigma_over_alpha() -> None:
    """Of scipy's: the share of times below any ratio."""
    drawn = torch.randn(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    t, logs = times(log_ratios(SCHEDULE), drawn, -0.4, 2.0), log_ratios(SCHEDULE)
    assert float(logs[700]) == pytest.approx(math.log(SCHEDULE.level(700).sigma / SCHEDULE.level(700).alpha))
    for time in (0, 100, 500, 900, 998):
        assert float((t <= time).double().mean()) == pytest.approx(norm.cdf((float(logs[time]) + 0.4) / 2), abs=0.015)
    assert int(t.max()) == SCHEDULE.steps - 1
    pure = build_schedule({"kind": "table", "abar": [0.9, 0.5, 0.0]})
    assert times(log_ratios(pure), torch.tensor([9.0]), 0.0, 2.0).tolist() == [2]


class Curve(nn.Module):
    """A consistency function of numbers: velocity from the angle and x, so that it is the identity at the clean end."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (one[:, None] for one in SCHEDULE.at(t))
        slope, offset = self.inner(torch.cat([alpha, sigma, alpha * sigma], 1)).chunk(2, 1)
        return alpha * x - sigma * (slope * x + offset)


def test_what_a_network_learns_by_it_is_the_end_of_the_flow() -> None:
    """One Gaussian number, mean 0.6 and deviation 0.3, its denoiser exact.

    Off by 1 to 8% of the data's deviation (five seeds), which last digits decide; the mean alone would be off by all.
    """
    torch.manual_seed(0)
    generator, steps, mean, deviation = torch.Generator().manual_seed(0), 1200, 0.6, 0.3
    net, turned, logs = Curve(), angles(SCHEDULE), log_ratios(SCHEDULE)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        t = times(logs, torch.randn(256, dtype=torch.float64, generator=generator), -1.0, 2.0)
        noise, drawn = torch.randn(2, 256, 1, generator=generator)
        now = SCHEDULE.at(t)
        alpha, sigma = (one[:, None] for one in now)
        x = q_sample(mean + deviation * drawn, noise, *now)
        x0 = mean + alpha * deviation**2 / (alpha**2 * deviation**2 + sigma**2) * (x - alpha * mean)
        with torch.no_grad():
            r = nearer(turned, t, gap(step, steps, 4, 0.2))
            there = r.clamp(min=0)
            target = torch.where(r[:, None] == CLEAN, x0, net(moved(x, x0, now, SCHEDULE.at(there)), there))
        optimiser.zero_grad()
        consistency_loss(net(x, t), target, now[1], 0.03).mean().backward()
        optimiser.step()
        rate.step()
    drawn = torch.linspace(-2, 2, 41)[:, None]
    for time in (999, 600, 300):
        level = SCHEDULE.level(time)
        wide = math.sqrt(level.alpha**2 * deviation**2 + level.sigma**2)
        with torch.no_grad():
            found = net(level.alpha * mean + wide * drawn, torch.full((41,), time))
        assert float((found - (mean + deviation * drawn)).square().mean().sqrt()) < 0.15 * deviation, time
