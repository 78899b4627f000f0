"""Sampling by our few-step solvers and by diffusers' schedulers of the same names: the same x after every step.

If these fail, a solver that is called by a paper's name draws other images than the paper's method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers.scheduling_utils import AysSchedules
from torch import Tensor

from latentry.diffusion.levels import LEVELS
from latentry.diffusion.levels.ratios import at_ratio
from latentry.diffusion.prediction import PREDICTIONS
from latentry.diffusion.schedule import Level, Schedule, build_schedule
from latentry.diffusion.solvers import SOLVERS
from tests.reference.close import assert_close
from tests.reference.test_diffusers_scheduler import SCHEDULE_OPTIONS, network
from tests.unit.nn.networks import normal

STEPS, SHAPE = 7, (2, 3, 4, 4)
THEIRS = {"epsilon": "epsilon", "sample": "sample", "velocity": "v_prediction"}
SDE: dict[str, Any] = {"algorithm_type": "sde-dpmsolver++"}
SAME: dict[str, tuple[str, dict[str, Any], Any, dict[str, Any]]] = {
    "2M": ("dpmpp_2m", {}, DPMSolverMultistepScheduler, {"lower_order_final": False}),
    "2M SDE": ("dpmpp_2m", {"eta": 1.0}, DPMSolverMultistepScheduler, {"lower_order_final": False, **SDE}),
    "3M": ("dpmpp_3m", {}, DPMSolverMultistepScheduler, {"lower_order_final": False, "solver_order": 3}),
    "2S": ("dpmpp_2s", {}, DPMSolverSinglestepScheduler, {"lower_order_final": True}),
    "2S SDE": ("dpmpp_2s", {"eta": 1.0}, DPMSolverSinglestepScheduler, {"lower_order_final": True, **SDE}),
    **{
        f"UniPC {order}": ("unipc", {"order": order}, UniPCMultistepScheduler, {"solver_order": order})
        for order in (1, 2, 3)
    },
}
"""our solver, its options, diffusers' class, its settings; all go to clean"""


def scheduler(made: Any, schedule: Schedule, levels: Sequence[Level], prediction: str, **settings: Any) -> Any:
    """A scheduler of diffusers at our levels."""
    betas = schedule.betas.tolist()
    made = made(trained_betas=betas, prediction_type=THEIRS[prediction], **settings)
    made.set_timesteps(len(levels) - 1)
    made.timesteps = torch.tensor([level.t for level in levels[:-1]])
    made.sigmas = torch.tensor([level.sigma / level.alpha for level in levels])
    return made


def theirs(made: Any, levels: Sequence[Level], x: Tensor, **step: Any) -> list[Tensor]:
    reached = []
    for level in levels[:-1]:
        x = made.step(network(x, level.t), torch.tensor(level.t), x, **step).prev_sample
        reached.append(x)
    return reached


def predicted(prediction: str, x: Tensor, level: Level) -> Tensor:
    return PREDICTIONS[prediction].x0(x, network(x, level.t), level.alpha, level.sigma)


def ours(
    solver: str, prediction: str, levels: Sequence[Level], x: Tensor, noise: Sequence[Tensor], **options: Any
) -> list[Tensor]:
    walk = SOLVERS[solver].solve(partial(predicted, prediction), x, levels, noise=lambda i: noise[i], **options)
    return [step.x for step in walk]


def same(found: list[Tensor], expected: list[Tensor], tolerance: float = 1e-4) -> None:
    assert len(found) == len(expected)
    for step, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert_close(a, b, f"x after step {step}", tolerance)


def drawn() -> tuple[list[Tensor], torch.Generator]:
    """Noise of every step, and a generator that gives it to diffusers."""
    generator = torch.Generator().manual_seed(11)
    return [torch.randn(SHAPE, generator=generator) for _ in range(STEPS)], torch.Generator().manual_seed(11)


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("levels", ["trailing", "karras", "exponential", "ays"])
@pytest.mark.parametrize("prediction", THEIRS)
def test_every_prediction_and_choice_of_levels(name: str, levels: str, prediction: str) -> None:
    solver, options, made, settings = SAME[name]
    schedule, x, (noise, generator) = build_schedule("scaled_linear"), normal(*SHAPE), drawn()
    visited = LEVELS[levels](schedule, STEPS)
    step = {"generator": generator} if options.get("eta") else {}
    expected = theirs(scheduler(made, schedule, visited, prediction, **settings), visited, x, **step)
    same(ours(solver, prediction, visited, x, noise, **options), expected)


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("schedule", SCHEDULE_OPTIONS)
def test_every_schedule(name: str, schedule: str) -> None:
    solver, options, made, settings = SAME[name]
    built, x, (noise, generator) = build_schedule(SCHEDULE_OPTIONS[schedule]), normal(*SHAPE), drawn()
    visited = LEVELS["trailing"](built, STEPS)
    step = {"generator": generator} if options.get("eta") else {}
    expected = theirs(scheduler(made, built, visited, "velocity", **settings), visited, x, **step)
    same(ours(solver, "velocity", visited, x, noise, **options), expected)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("solver", ["deis", "unipc"])
@pytest.mark.parametrize("prediction", THEIRS)
@pytest.mark.parametrize("schedule", SCHEDULE_OPTIONS)
def test_an_end_that_is_not_clean(solver: str, order: int, prediction: str, schedule: str) -> None:
    """The published grid; DEIS of diffusers always ends so."""
    built, x = build_schedule(SCHEDULE_OPTIONS[schedule]), normal(*SHAPE)
    visited = LEVELS["published"](built, STEPS)
    classes: dict[str, Any] = {"deis": DEISMultistepScheduler, "unipc": UniPCMultistepScheduler}
    settings = {"solver_order": order, "lower_order_final": False}
    expected = theirs(scheduler(classes[solver], built, visited, prediction, **settings), visited, x)
    same(ours(solver, prediction, visited, x, [x] * STEPS, order=order), expected)


@pytest.mark.parametrize("schedule", SCHEDULE_OPTIONS)
@pytest.mark.parametrize("prediction", THEIRS)
@pytest.mark.parametrize("churn", [0.0, 2.0])
def test_euler(schedule: str, prediction: str, churn: float) -> None:
    """Theirs walks x / alpha. With churn it calls the network where the noise is not added yet, and so cannot be given
    what ours is: the network here sees what ours sees."""
    if churn and prediction == "velocity":
        pytest.skip("theirs reads v at the level without the noise that was added")
    built, x, (noise, generator) = build_schedule(SCHEDULE_OPTIONS[schedule]), normal(*SHAPE), drawn()
    visited, top = LEVELS["karras"](built, STEPS), built.level(built.steps - 1)
    made = scheduler(EulerDiscreteScheduler, built, visited, prediction)
    y, expected, limits = x / visited[0].alpha, [], {"churn_from": 0.1, "churn_to": 0.9 * top.sigma / top.alpha}
    for index, (level, after) in enumerate(pairwise(visited)):
        ratio = level.sigma / level.alpha
        raised = ratio * (1 + min(churn / STEPS, math.sqrt(2) - 1)) if 0.1 <= ratio <= limits["churn_to"] else ratio
        seen = y + noise[len(expected_noise(visited[:index], limits, churn))] * math.sqrt(raised**2 - ratio**2)
        higher = at_ratio(built, raised)
        made.scale_model_input(y, torch.tensor(level.t))
        step = {"s_churn": churn, "s_tmin": 0.1, "s_tmax": limits["churn_to"], "generator": generator}
        y = made.step(network(seen * higher.alpha, higher.t), torch.tensor(level.t), y, **step).prev_sample
        expected.append(y * after.alpha)
    used = iter(noise)
    by_step = [next(used) if expected_noise([level], limits, churn) else noise[0] for level in visited[:-1]]
    options = {"churn": churn, "at": partial(at_ratio, built), **limits}
    same(ours("euler", prediction, visited, x, by_step, **options), expected)


def expected_noise(levels: Sequence[Level], limits: dict[str, float], churn: float) -> list[Level]:
    """The levels at which noise is added; theirs draws at no other."""
    low, high = limits["churn_from"], limits["churn_to"]
    return [level for level in levels if churn and low <= level.sigma / level.alpha <= high]


@pytest.mark.parametrize("schedule", SCHEDULE_OPTIONS)
@pytest.mark.parametrize("prediction", THEIRS)
def test_heun(schedule: str, prediction: str) -> None:
    """Which diffusers counts as two steps each, but for the last."""
    built, x = build_schedule(SCHEDULE_OPTIONS[schedule]), normal(*SHAPE)
    visited = LEVELS["karras"](built, STEPS)
    made: Any = HeunDiscreteScheduler(trained_betas=built.betas.tolist(), prediction_type=THEIRS[prediction])
    made.set_timesteps(STEPS)
    ratios = torch.tensor([level.sigma / level.alpha for level in visited])
    times = torch.tensor([level.t for level in visited[:-1]])
    made.sigmas = torch.cat([ratios[:1], ratios[1:-1].repeat_interleave(2), ratios[-1:]])
    made.timesteps = torch.cat([times[:1], times[1:].repeat_interleave(2)])
    y, expected = x / visited[0].alpha, list[Tensor]()
    for call, t in enumerate(made.timesteps):
        level = visited[(call + 1) // 2]
        y = made.step(network(y * level.alpha, level.t), t, y).prev_sample
        if call % 2 or call == len(made.timesteps) - 1:
            expected.append(y * visited[len(expected) + 1].alpha)
    same(ours("heun", prediction, visited, x, [x] * STEPS), expected)


@pytest.mark.parametrize("levels", ["trailing", "karras", "exponential"])
@pytest.mark.parametrize("schedule", ["scaled_linear", "short", "linear"])
def test_the_levels_are_theirs(levels: str, schedule: str) -> None:
    built = build_schedule(SCHEDULE_OPTIONS[schedule])
    settings = {"timestep_spacing": "trailing"} if levels == "trailing" else {f"use_{levels}_sigmas": True}
    betas = {"trained_betas": built.betas.tolist(), "num_train_timesteps": built.steps}
    made: Any = EulerDiscreteScheduler(**betas, **settings)
    made.set_timesteps(10)
    visited = LEVELS[levels](built, 10)
    np.testing.assert_allclose([level.sigma / level.alpha for level in visited], made.sigmas.numpy(), rtol=2e-4)
    np.testing.assert_allclose([level.t for level in visited[:-1]], made.timesteps.numpy(), atol=0.05)


@pytest.mark.parametrize(("levels", "theirs_"), [("ays", "StableDiffusion"), ("ays_xl", "StableDiffusionXL")])
def test_align_your_steps_are_the_published_times_of_the_schedule_they_were_made_for(levels: str, theirs_: str) -> None:
    built = build_schedule({"kind": "scaled_linear", "start": 0.00085, "end": 0.012})
    visited = LEVELS[levels](built, 10)
    np.testing.assert_allclose(
        [level.t for level in visited[:-1]], np.array(AysSchedules[f"{theirs_}Timesteps"]), atol=1.5
    )
    ratios = [level.sigma / level.alpha for level in visited]
    np.testing.assert_allclose(ratios, np.array(AysSchedules[f"{theirs_}Sigmas"]), rtol=1e-3)
