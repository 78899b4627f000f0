"""Conditions computed once and predictions made together are what each would be alone; else guidance misleads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from latentry.diffusion.levels import LEVELS
from latentry.models.bind import bind
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.nn.attention import Attention
from tests.unit.models.small_models import CONDITIONS, denoiser, values_for

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
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
