"""Rates, clipping and the optimiser's state: wrong ones train another model, or one that a resume changes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from latentry.training.loop.optimiser import Updater, rate_factor
from latentry.training.recipe.training import StageTraining
from tests.unit.training.small_stages import ALONE

GRADIENT = torch.tensor([3.0, 4.0])


def training(**options) -> StageTraining:
    return StageTraining.model_validate({"steps": 110, "batch": 8, "lr": 0.1, **options})


def updater(weight: nn.Parameter, **options) -> Updater:
    chosen = training(**options)
    return Updater({"w": weight}, chosen, chosen.rate(), ALONE)


def stepped(u: Updater, gradient: Tensor, step: int = 0) -> Tensor:
    """How far one step moves the weight."""
    before = u.weights["w"].detach().clone()
    u.weights["w"].grad = gradient.clone()
    u.step(step, u.reduce())
    return u.weights["w"].detach() - before


def test_constant_rate() -> None:
    assert {rate_factor(step, training()) for step in range(200)} == {1.0}


def test_warm_up_rises_evenly_to_the_full_rate() -> None:
    factors = [rate_factor(step, training(warmup=9)) for step in range(12)]
    assert factors == pytest.approx([0.1 * i for i in range(1, 11)] + [1.0, 1.0])


@pytest.mark.parametrize(("decay", "middle"), [("linear", 0.5), ("cosine", 0.5)])
def test_decay_ends_at_lr_end(decay: str, middle: float) -> None:
    t = training(warmup=10, decay=decay, lr_end=0.2)
    assert rate_factor(10, t) == 1.0
    assert rate_factor(60, t) == pytest.approx(0.2 + 0.8 * middle)
    assert rate_factor(110, t) == pytest.approx(0.2)
    assert rate_factor(500, t) == pytest.approx(0.2)
    factors = [rate_factor(step, t) for step in range(10, 111)]
    assert factors == sorted(factors, reverse=True)


def test_cosine_is_a_cosine() -> None:
    t = training(decay="cosine")
    assert rate_factor(27, t) == pytest.approx(0.5 * (1 + math.cos(math.pi * 27 / 110)))


def test_scaled_rate_is_the_base_rate_times_the_whole_batch() -> None:
    assert training(scale_lr=True, accumulate=2).rate() == pytest.approx(0.8)


@pytest.mark.parametrize(("clip", "share"), [(None, 1.0), (1.0, 0.2), (5.0, 1.0), (50.0, 1.0)])
def test_clipping_by_the_norm_of_all_gradients(clip: float | None, share: float) -> None:
    moved = stepped(updater(nn.Parameter(torch.zeros(2)), optimiser="sgd", clip=clip), GRADIENT)  # norm 5
    assert torch.allclose(moved, -0.1 * share * GRADIENT, rtol=1e-5)


def test_the_rate_of_the_step_is_used() -> None:
    moved = stepped(updater(nn.Parameter(torch.zeros(2)), optimiser="sgd", warmup=9), GRADIENT, step=4)
    assert torch.allclose(moved, -0.05 * GRADIENT)


def test_norm_is_not_finite_if_any_gradient_is_not() -> None:
    u = updater(nn.Parameter(torch.zeros(2)))
    u.weights["w"].grad = torch.tensor([1.0, float("nan")])
    assert not math.isfinite(u.reduce())


def test_adam_takes_the_published_step() -> None:
    """First step of Adam: the rate, whatever the gradient's size; AdamW also takes off rate * decay * weight."""
    moved = stepped(updater(nn.Parameter(torch.ones(2)), optimiser="adam"), GRADIENT)
    assert torch.allclose(moved, torch.tensor([-0.1, -0.1]))
    moved = stepped(updater(nn.Parameter(torch.ones(2)), optimiser="adamw", weight_decay=0.5), GRADIENT)
    assert torch.allclose(moved, torch.tensor([-0.15, -0.15]))


@pytest.mark.parametrize(
    ("name", "shape"), [("adamw", (2,)), ("adam", (2,)), ("sgd", (2,)), ("muon", (2,)), ("muon", (8, 1, 3, 3))]
)
def test_state_comes_back(name: str, shape: tuple[int, ...]) -> None:
    """Else a resumed run would take other steps than an unbroken one."""
    gradients = [torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    whole = updater(nn.Parameter(torch.ones(shape)), optimiser=name)
    for step in (0, 1):
        stepped(whole, gradients[step], step)
    resumed = updater(nn.Parameter(whole.weights["w"].detach().clone()), optimiser=name)
    resumed.load({key: value.clone() for key, value in whole.state().items()})
    for step in (2, 3):
        assert torch.equal(stepped(whole, gradients[step], step), stepped(resumed, gradients[step], step))


def test_gradients_are_gone_after_a_step() -> None:
    weight = nn.Parameter(torch.zeros(2))
    stepped(updater(weight), GRADIENT)
    assert weight.grad is None


def test_state_comes_back_in_another_memory_format() -> None:
    """A file holds tensors row by row; the optimiser walks memory, where the weight may lie channels last."""

    def weight(value: Tensor) -> nn.Parameter:
        return nn.Parameter(value.clone().contiguous(memory_format=torch.channels_last))

    generator = torch.Generator().manual_seed(0)
    first, *gradients = (weight(value).data for value in torch.randn(4, 3, 5, 2, 2, generator=generator))
    whole = updater(weight(first), optimiser="adam")
    stepped(whole, gradients[0], 0)
    resumed = updater(weight(whole.weights["w"].detach()), optimiser="adam")
    resumed.load({key: value.clone(memory_format=torch.contiguous_format) for key, value in whole.state().items()})
    for step in (1, 2):
        assert torch.equal(stepped(whole, gradients[step], step), stepped(resumed, gradients[step], step))
