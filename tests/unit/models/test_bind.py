"""Conditions computed once and predictions made together are what each would be alone; else guidance misleads."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentry.conditioning import Cond
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.schedule import Level
from latentry.models.bind import bind, bind_at
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.nn.attention import Attention
from latentry.windows import Window
from tests.unit.models.small_models import CONDITIONS, denoiser, values_for

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
LEVEL = Level(500.0, 0.6, 0.8)
UNET = {"channels": 16, "multipliers": [1, 2], "blocks": 1, "attention": [2], "heads": 2, "norm_groups": 4}
each = pytest.mark.parametrize("conditions", CONDITIONS)


def alone(model: LatentDiffusion, values: dict[str, Any], level: Any) -> Tensor:
    """x0 under one condition by the plain call of the network and epsilon's formula."""
    epsilon = model(X, torch.full((2,), level.t), model.condition(values, 2))
    return (X - level.sigma * epsilon) / level.alpha


@each
@torch.no_grad()
def test_together_as_alone(conditions: str) -> None:
    model = denoiser(conditions)
    values = values_for(conditions)
    levels = LEVELS["trailing"](model.schedule, 4)
    denoisers = bind(model, [model.condition(values, 2), model.condition({}, 2)], levels)
    for level in levels[:-1]:
        told, untold = denoisers(X, level)
        assert torch.allclose(told, alone(model, values, level), rtol=1e-4, atol=1e-4)
        assert torch.allclose(untold, alone(model, {}, level), rtol=1e-4, atol=1e-4)
        assert torch.equal(told, untold) == (conditions == "none")


@each
@torch.no_grad()
def test_one_condition_alone(conditions: str) -> None:
    model = denoiser(conditions)
    values = values_for(conditions)
    levels = LEVELS["uniform"](model.schedule, 3)
    (found,) = bind(model, [model.condition(values, 2)], levels)(X, levels[1])
    assert torch.allclose(found, alone(model, values, levels[1]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_one_network_call_a_level_and_what_is_the_same_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = denoiser("both")
    calls: dict[str, int] = {"unet": 0, "time": 0, "project": 0}

    def counted(name: str, function: Any) -> Any:
        def call(*args: Any, **how: Any) -> Any:
            calls[name] += 1
            return function(*args, **how)

        return call

    monkeypatch.setattr(model.unet, "forward", counted("unet", model.unet.forward))
    monkeypatch.setattr(model.unet, "embed_time", counted("time", model.unet.embed_time))
    crosses = [m for n, m in model.unet.named_modules() if isinstance(m, Attention) and "cross" in n]
    for attention in crosses:
        monkeypatch.setattr(attention, "project", counted("project", attention.project))
    levels = LEVELS["uniform"](model.schedule, 5)
    denoisers = bind(model, [model.condition(values_for("both"), 2), model.condition({}, 2)], levels)
    for level in levels[:-1]:
        denoisers(X, level)
    assert crosses
    assert calls == {"unet": 5, "time": 1, "project": len(crosses)}


@torch.no_grad()
def test_levels_that_were_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver may visit levels of its own: x0 there is that of a level known before, embedded once."""
    model = denoiser("both")
    levels = LEVELS["uniform"](model.schedule, 3)
    between = Level(731.25, 0.6, 0.8)
    conds = [model.condition(values_for("both"), 2), model.condition({}, 2)]
    announced = bind(model, conds, [levels[0], between, *levels[1:]])(X, between)
    calls: list[int] = []
    embed = model.unet.embed_time

    def counted(t: Tensor) -> Tensor:
        calls.append(len(t))
        return embed(t)

    monkeypatch.setattr(model.unet, "embed_time", counted)
    denoisers = bind(model, conds, levels)
    for _ in range(2):
        for found, expected in zip(denoisers(X, between), announced, strict=True):
            assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    denoisers(X, levels[1])
    assert calls == [3, 1]
    assert not torch.allclose(denoisers(X, between._replace(t=700.0))[0], announced[0], atol=1e-3)


@torch.no_grad()
def test_a_solver_with_levels_of_its_own_ends_where_it_would_had_it_announced_them() -> None:
    """The midpoint rule: each step by the x0 predicted half way."""
    model = denoiser("text")
    levels = LEVELS["uniform"](model.schedule, 4)[1:-1]
    halves = {a: Level((a.t + b.t) / 2, *((a[i] + b[i]) / 2 for i in (1, 2))) for a, b in pairwise(levels)}

    def end(announced: list[Level]) -> Tensor:
        denoisers, x = bind(model, [model.condition(values_for("text"), 2)], announced), X

        def step(before: Level, after: Level, at: Level, point: Tensor) -> Tensor:
            (x0,) = denoisers(point, at)
            return after.alpha * x0 + after.sigma / before.sigma * (x - before.alpha * x0)

        for level, after in pairwise(levels):
            half = halves[level]
            x = step(level, after, half, step(level, half, level, x))
        return x

    found, expected = end(levels), end([*levels, *halves.values()])
    assert (found - expected).norm() < 1e-4 * expected.norm()


@each
@torch.no_grad()
def test_bf16_is_close_to_fp32(conditions: str) -> None:
    model = denoiser(conditions)
    levels = LEVELS["uniform"](model.schedule, 3)
    conds = [model.condition(values_for(conditions), 2)]
    for level in levels[1:-1]:  # at the first, sigma / alpha = 84 times the network's rounding
        (exact,), (rounded,) = (bind(model, conds, levels, bf16=bf16)(X, level) for bf16 in (False, True))
        assert rounded.dtype == torch.float32
        assert not torch.equal(exact, rounded)
        assert (exact - rounded).norm() < 0.03 * exact.norm()


@torch.no_grad()
def test_precision_of_x_is_kept() -> None:
    """Solvers may compute in float64 around the network."""
    model = denoiser("vector")
    levels = LEVELS["uniform"](model.schedule, 3)
    (found,) = bind(model, [model.condition(values_for("vector"), 2)], levels)(X.double(), levels[1])
    assert found.dtype == torch.float64


@each
def test_no_gradient_is_kept_while_conditions_are_projected(conditions: str) -> None:
    model = denoiser(conditions)
    levels = LEVELS["uniform"](model.schedule, 3)
    with torch.no_grad():
        conds = [model.condition(values_for(conditions), 2)]
    x = X.clone().requires_grad_()
    (found,) = bind(model, conds, levels)(x, levels[1])
    found.sum().backward()  # guidance by gradients needs that of x
    assert x.grad is not None
    assert x.grad.abs().max() > 0


@pytest.mark.parametrize("size", [(7, 9), (1, 3), (8, 9)])
def test_a_latent_that_the_unet_cannot_halve_is_mirrored_for_it(size: tuple[int, int]) -> None:
    """As the network sees the latent that numpy continues by its mirror image; of it the asked part is given."""
    model = denoiser("none", unet={**UNET, "multipliers": [1, 1, 2]})
    x = torch.randn(2, 4, *size)
    more = [(0, 0), (0, 0), *((0, -side % 4) for side in size)]
    continued = torch.from_numpy(np.pad(x.numpy(), more, mode="symmetric"))
    with torch.no_grad():
        (ours,) = bind(model, [Cond()], [LEVEL])(x, LEVEL)
        (whole,) = bind(model, [Cond()], [LEVEL])(continued, LEVEL)
    assert ours.shape == x.shape
    assert (ours - whole[..., : size[0], : size[1]]).abs().max() < 1e-5


def test_a_window_sees_its_part_of_what_is_said_of_places() -> None:
    """If not, a tile is drawn from the low-resolution image of another place."""
    model = denoiser("none", conditioning={"low": {"kind": "image", "channels": 3}}, unet=UNET)
    concat, x = torch.randn(1, 3, 12, 16), torch.randn(1, 4, 8, 8)
    at = bind_at(model, [Cond(concat=concat)], [LEVEL])
    with torch.no_grad():
        (ours,) = at([Window(4, 12, 0, 8)])(x, LEVEL)
        (cut,) = bind(model, [Cond(concat=concat[..., 4:12, 0:8])], [LEVEL])(x, LEVEL)
        (other,) = at([Window(0, 8, 0, 8)])(x, LEVEL)
    assert torch.equal(ours, cut)
    assert not torch.equal(ours, other)


@each
def test_windows_at_once_are_those_one_by_one(conditions: str) -> None:
    """Of two images under two conditions, whatever the conditions are made of. If not, tiles come in wrong places."""
    model = denoiser(conditions)
    conds = [model.condition(values_for(conditions), 2), model.nothing(values_for(conditions), 2)]
    conds = [
        replace(cond, concat=None if cond.concat is None else torch.randn(2, cond.concat.shape[1], 16, 12))
        for cond in conds
    ]
    at, places = bind_at(model, conds, [LEVEL]), [Window(0, 8, 0, 8), Window(8, 16, 0, 8), Window(3, 11, 4, 12)]
    x = torch.randn(6, 4, 8, 8)
    with torch.no_grad():
        together = at(places)(x, LEVEL)
        alone = [at([place])(part, LEVEL) for place, part in zip(places, x.chunk(3), strict=True)]
    for ours, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert ours.shape == x.shape
        assert (ours - torch.cat(parts)).abs().max() < 1e-5
