"""Every solver of the table keeps the contract and converges as it says. If not, more steps would not mean better."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from latentry.diffusion.contracts import Solver
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.schedule import CLEAN, Level, build_schedule
from latentry.diffusion.solvers import SOLVERS
from latentry.kinds import build
from tests.unit.diffusion.gaussian import Solve, denoise, error, flow_levels, log_ratio_levels, pure_noise_levels

SCHEDULE = build_schedule("scaled_linear")


def default(name: str) -> Solver:
    return build(SOLVERS, SOLVERS[name].options(kind=name))


each = pytest.mark.parametrize("name", SOLVERS)


def preserving(ratio: float) -> Level:
    """The level of a sigma/alpha on the variance-preserving path."""
    alpha = 1 / math.hypot(1, ratio)
    return Level(0.0, alpha, ratio * alpha)


OPTIONS: dict[str, tuple[str, dict[str, Any], int]] = {
    **{f"ddim eta {eta}": ("ddim", {"eta": eta}, 1) for eta in (0.5, 1.0)},
    # the SDE: of the second order in its means, which is all that Gaussian data ask for
    **{f"{name} eta {eta}": (name, {"eta": eta}, 2) for name in ("dpmpp_2m", "dpmpp_3m") for eta in (0.5, 1.0)},
    "dpmpp_2s eta 1": ("dpmpp_2s", {"eta": 1.0}, 1),
    "deis order 1": ("deis", {"order": 1}, 1),
    **{f"unipc order {order}": ("unipc", {"order": order}, order + 1) for order in (1, 3)},
    "euler churn": ("euler", {"churn": 5.0, "at": preserving}, 1),
    "heun churn": ("heun", {"churn": 5.0, "at": preserving}, 2),
}
"""solver, options, order"""
variants = {name: (default(name), entry.order) for name, entry in SOLVERS.items() if entry.order} | {
    name: (partial(SOLVERS[solver].solve, **options), order) for name, (solver, options, order) in OPTIONS.items()
}
each_variant = pytest.mark.parametrize(("solve", "order"), variants.values(), ids=variants)


def no_noise(index: int) -> Tensor:
    return torch.zeros(())


@each_variant
def test_the_error_falls_with_the_order_the_table_states(solve: Solve, order: int) -> None:
    errors = [error(solve, log_ratio_levels(steps)) for steps in (256, 512, 1024)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)


def karras_levels(steps: int) -> list[Level]:
    """Without the step from its last time to clean, which stays as long however many there are."""
    return LEVELS["karras"](SCHEDULE, steps)[:-1]


@each_variant
@pytest.mark.parametrize(
    "path",
    [partial(LEVELS["trailing"], SCHEDULE), karras_levels, pure_noise_levels, flow_levels],
    ids=["variance preserving", "karras", "alpha 0", "flow"],
)
def test_each_doubling_improves_on_every_path_down_to_clean(solve: Solve, order: int, path) -> None:
    errors = [error(solve, path(steps)) for steps in (16, 32, 64, 128, 256)]
    assert all(math.isfinite(e) for e in errors)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 4


@each
def test_one_step_from_anywhere_to_clean_gives_the_predicted_clean_latent(name: str) -> None:
    x = torch.randn(3, 2, dtype=torch.float64)
    for level in (Level(999.0, 0.0, 1.0), Level(10.0, 0.8, 0.6), Level(0.0, 0.7, 0.3)):
        (step,) = default(name)(denoise, x, [level, CLEAN], noise=lambda i: x)
        torch.testing.assert_close(step.x, denoise(x, level), rtol=1e-14, atol=1e-14)


@each
def test_a_clean_level_is_never_given_to_the_denoiser(name: str) -> None:
    asked: list[Level] = []

    def watched(x: Tensor, level: Level) -> Tensor:
        asked.append(level)
        return denoise(x, level)

    levels = LEVELS["uniform"](SCHEDULE, 6)
    list(default(name)(watched, torch.ones(1, 2).double(), levels, noise=no_noise))
    assert CLEAN not in asked
    assert set(asked) <= set(levels)


@each
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_calls_are_as_many_as_the_table_says_and_no_more_than_asked_for(name: str, steps: int) -> None:
    """What a person is told that sampling costs. As published, plms takes one more."""
    entry = SOLVERS[name]
    count = entry.steps(steps)
    for levels in (LEVELS["trailing"](SCHEDULE, count), LEVELS["published"](SCHEDULE, count), flow_levels(count)):
        calls, seen = [0], 0

        def watched(x: Tensor, level: Level, calls: list[int] = calls) -> Tensor:
            calls[0] += 1
            return denoise(x, level)

        each_step = entry.calls(levels)
        for step in default(name)(watched, torch.ones(1, 2).double(), levels, noise=no_noise):
            assert calls[0] - seen == each_step[step.index]
            seen = calls[0]
        assert sum(each_step) <= steps + (name == "plms")
        assert sum(each_step) > steps - entry.per_step - 1


@each
def test_steps_are_numbered_and_carry_the_level_x_has_reached(name: str) -> None:
    levels = LEVELS["published"](SCHEDULE, 4)
    steps = list(default(name)(denoise, torch.ones(1, 2).double(), levels, noise=no_noise))
    assert [s.index for s in steps] == [0, 1, 2, 3]
    assert [s.level for s in steps] == levels[1:]


@each
def test_noise_is_drawn_once_for_every_step_used_or_not(name: str) -> None:
    drawn: list[int] = []

    def noise(index: int) -> Tensor:
        drawn.append(index)
        return torch.zeros(1, 2)

    list(default(name)(denoise, torch.ones(1, 2).double(), flow_levels(5), noise=noise))
    assert drawn == [0, 1, 2, 3, 4]


@each
def test_the_consumer_keeps_its_gradients_while_the_solver_has_none(name: str) -> None:
    inside: list[bool] = []

    def watched(x: Tensor, level: Level) -> Tensor:
        inside.append(torch.is_grad_enabled())
        return denoise(x, level)

    x = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    for step in default(name)(watched, x, flow_levels(3), noise=no_noise):
        assert torch.is_grad_enabled(), "a preview or a trainer that iterates would silently lose its gradients"
        assert not step.x.requires_grad
    assert inside
    assert not any(inside)


@each
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_arithmetic_is_float32_whatever_the_network_gives(name: str, dtype: torch.dtype) -> None:
    def low(x: Tensor, level: Level) -> Tensor:
        return denoise(x.double(), level).to(dtype)

    solve = default(name)
    for step in solve(low, torch.ones(1, 2, dtype=dtype), flow_levels(3), noise=lambda i: torch.ones(1, 2).to(dtype)):
        assert step.x.dtype == step.x0.dtype == torch.float32


@each
def test_a_walk_cannot_go_on_from_a_clean_level(name: str) -> None:
    with pytest.raises(ValueError, match="clean level"):
        list(default(name)(denoise, torch.ones(1, 2), [CLEAN, CLEAN], noise=no_noise))
