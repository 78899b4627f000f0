"""If these fail, a hole is filled with something that does not belong to what is around it, or known parts change."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from latentry.diffusion import LEVELS, SOLVERS
from latentry.diffusion.contracts import Denoise
from latentry.diffusion.masking import Solve, latent_hole, replaced, resampled
from latentry.diffusion.schedule import Level, build_schedule
from latentry.diffusion.solvers.ddim import ddim
from latentry.diffusion.solvers.ddpm import ddpm
from latentry.diffusion.solvers.plms import plms
from latentry.diffusion.solvers.walk import raised
from tests.unit.diffusion.gaussian import COVARIANCE, MEAN, denoise, flow_levels, marginal

HOLE = torch.tensor([False, True])
GAIN = float(COVARIANCE[0, 1] / COVARIANCE[0, 0])
VARIANCE = float(COVARIANCE[1, 1] - COVARIANCE[0, 1] * GAIN)
SCHEDULE = build_schedule("scaled_linear")


def law(
    solve: Solve, levels: Sequence[Level], by: Denoise = denoise, hole: Tensor = HOLE
) -> tuple[float, float, float]:
    """What a solver draws in the hole, given what is known: offset, gain and variance of an affine function of it.

    Exact: the solver is affine in its start, the noises and what is known; each row is a unit vector of one of them.
    """
    places = {index: 6 + 2 * place for place, index in enumerate(sorted(set(draws(solve, levels))))}
    rows = 6 + 2 * len(places)
    start, latent, known_noise = (torch.zeros(rows, 2, dtype=torch.float64) for _ in range(3))
    latent[1, 0] = 1
    start[2:4] = torch.eye(2, dtype=torch.float64)
    known_noise[4:6] = torch.eye(2, dtype=torch.float64)

    def noise(index: int) -> Tensor:
        drawn = torch.zeros_like(start)
        drawn[places[index] : places[index] + 2] = torch.eye(2, dtype=torch.float64)
        return drawn

    *_, last = solve(replaced(by, latent, hole, known_noise), start, levels, noise=noise)
    of = last.x[:, 1] - last.x[0, 1]
    return float(last.x[0, 1]), float(of[1]), float(of[2:].square().sum())


def draws(solve: Solve, levels: Sequence[Level]) -> list[int]:
    """The numbers of the draws that a walk makes, in order."""
    numbers: list[int] = []

    def noise(index: int) -> Tensor:
        numbers.append(index)
        return torch.zeros(1, 2, dtype=torch.float64)

    for _ in solve(lambda x, level: x, torch.zeros(1, 2, dtype=torch.float64), levels, noise=noise):
        pass
    return numbers


SOLVES: dict[str, Solve] = {"ddim": partial(ddim, eta=0.0), "ddpm": ddpm, "plms": plms}


@pytest.mark.parametrize("name", SOLVES)
def test_the_hole_comes_nearer_to_its_conditional_law_with_every_pass(name: str) -> None:
    """x0 ~ N(mean, covariance): given the known half, the other one's law has a closed form."""
    levels = LEVELS["uniform"](SCHEDULE, 20)
    found = [law(resampled(SOLVES[name], times), levels) for times in (1, 4, 10)]
    gains = [gain for _, gain, _ in found]
    assert gains[0] < 0.7 * GAIN  # replacement alone: what is known is seen through its noise
    assert gains[0] < gains[1] < gains[2]
    assert gains[2] == pytest.approx(GAIN, rel=0.12)
    assert found[2][0] == pytest.approx(float(MEAN[1] - GAIN * MEAN[0]), rel=0.05)
    # A solver of first order loses some of the variety in every pass, the one of second order does not.
    low, high = (0.9, 1.2) if name == "plms" else (0.45, 1.0)
    assert low * VARIANCE < found[2][2] < high * VARIANCE


def test_finer_levels_and_more_passes_end_at_the_conditional_mean() -> None:
    offset, gain, _ = law(resampled(SOLVES["ddim"], 30), LEVELS["uniform"](SCHEDULE, 40))
    assert gain == pytest.approx(GAIN, rel=0.05)
    assert offset == pytest.approx(float(MEAN[1] - GAIN * MEAN[0]), rel=0.02)


@pytest.mark.parametrize("name", SOLVES)
def test_a_hole_that_nothing_around_it_tells_of_is_drawn_as_without_a_mask(name: str) -> None:
    variances = COVARIANCE.diagonal()

    def apart(x: Tensor, level: Level) -> Tensor:
        return MEAN + (x - level.alpha * MEAN) * level.alpha * variances / (level.alpha**2 * variances + level.sigma**2)

    levels = LEVELS["uniform"](SCHEDULE, 20)
    masked, whole = (law(SOLVES[name], levels, apart, hole) for hole in (HOLE, torch.tensor([True, True])))
    assert masked == pytest.approx(whole, abs=1e-9)
    assert masked[1] == 0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("levels", [LEVELS["trailing"](SCHEDULE, 6), flow_levels(6)], ids=["vp", "flow"])
def test_what_is_known_is_the_result_with_every_solver(solver: str, times: int, levels: list[Level]) -> None:
    """On a path that begins at pure noise too."""
    draw = torch.Generator().manual_seed(0)
    latent, noise, start = (torch.randn(2, 3, 4, 4, generator=draw) for _ in range(3))
    hole = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    hole[0, :, 1:3, 2:] = True
    seen = []

    def spy(x: Tensor, level: Level) -> Tensor:
        seen.append((x, level))
        return torch.tanh(x)

    walk = resampled(SOLVERS[solver].build(SOLVERS[solver].options(kind=solver)), times)
    steps = [*walk(replaced(spy, latent, hole, noise), start, levels, noise=lambda index: torch.ones_like(start))]
    assert [step.index for step in steps] == list(range(6))
    assert [step.level for step in steps] == levels[1:]
    known = ~hole.expand_as(latent)
    torch.testing.assert_close(steps[-1].x[known], latent[known])
    assert steps[-1].x[~known].isfinite().all()
    for x, level in seen:  # the forward process of what is known, and never what the latent holds in the hole
        torch.testing.assert_close(x[known], (level.alpha * latent + level.sigma * noise)[known])
    calls = SOLVERS[solver].calls
    assert len(seen) == (sum(calls(levels)) if times == 1 else times * sum(calls(levels[i:])[0] for i in range(6)))


def test_what_the_latent_holds_in_the_hole_is_never_seen() -> None:
    """The object that is to be removed."""
    draw = torch.Generator().manual_seed(0)
    latent, noise, start = (torch.randn(1, 2, 4, 4, generator=draw) for _ in range(3))
    hole = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    hole[..., 2:] = True
    levels, results = LEVELS["uniform"](SCHEDULE, 4), []
    for held in (latent, torch.where(hole, 99.0, latent)):
        walk = ddim(replaced(lambda x, _: x.mean() + 0.1 * x, held, hole, noise), start, levels, noise=lambda _: start)
        results.append([*walk][-1].x)
    assert torch.equal(*results)


def test_one_pass_is_the_solver_itself_and_no_draw_is_used_twice() -> None:
    levels = LEVELS["uniform"](SCHEDULE, 5)
    assert resampled(ddpm, 1) is ddpm
    assert draws(ddpm, levels) == [*range(5)]
    numbers = draws(resampled(ddpm, 3), levels)
    assert len(numbers) == len(set(numbers)) == 5 * (3 + 2)


def test_going_up_gives_the_forward_process_of_the_higher_level() -> None:
    """Mean and covariance of x there, from those below."""
    low, high = LEVELS["uniform"](SCHEDULE, 4)[2:0:-1]
    (mean, covariance), (above, wider) = marginal(low), marginal(high)
    unit, nothing = torch.eye(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    kept, added = raised(unit, low, high, nothing), raised(nothing, low, high, unit)
    torch.testing.assert_close(kept @ mean, above)
    torch.testing.assert_close(kept @ covariance @ kept.T + added @ added.T, wider)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_latent_that_a_hole_touches_is_unknown(factor: int) -> None:
    draw = torch.Generator().manual_seed(factor)
    hole = torch.rand(2, 1, 8, 16, generator=draw) < 0.1
    found = latent_hole(hole, factor)
    assert found.dtype == torch.bool
    assert found.shape == (2, 1, 8 // factor, 16 // factor)
    for b, _, y, x in torch.cartesian_prod(*map(torch.arange, found.shape)).tolist():
        part = hole[b, 0, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
        assert bool(found[b, 0, y, x]) == bool(part.any())
