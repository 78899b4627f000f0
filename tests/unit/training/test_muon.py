"""Muon: a wrong step trains another model, or none; only matrices may be taken for such."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentry.training.loop.muon import Muon, is_matrix, orthogonal
from latentry.training.loop.optimiser import Updater
from tests.unit.training.small_stages import ALONE
from tests.unit.training.test_optimiser import training


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_singular_values_go_through_the_polynomial_and_vectors_stay(shape: tuple[int, int]) -> None:
    """Against numpy's decomposition, in float64."""
    x = normal(3, *shape).double()
    for matrix, ours in zip(x.numpy(), orthogonal(x).numpy(), strict=True):
        u, s, v = np.linalg.svd(matrix / np.linalg.norm(matrix), full_matrices=False)
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        assert np.allclose(ours, u * s @ v, atol=1e-9)
        assert s.min() > 0.5
        assert s.max() < 1.3


def test_a_matrix_of_zeros_stays_one() -> None:
    assert not orthogonal(torch.zeros(1, 8, 9)).any()


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_steps_are_those_of_torch(decay: float) -> None:
    """torch's own takes matrices of two dimensions alone, and works in bfloat16: hence the tolerance."""
    start, gradients = normal(24, 16), [normal(24, 16, seed=seed) for seed in (1, 2, 3)]
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    pair = (
        Muon([ours], lr=0.1, weight_decay=decay),
        torch.optim.Muon([theirs], lr=0.1, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
    )
    for gradient in gradients:
        for weight, optimiser in zip((ours, theirs), pair, strict=True):
            weight.grad = gradient.clone()
            optimiser.step()
    assert (ours - start).norm() > 0.5
    assert (ours - theirs).norm() < 0.03 * (ours - start).norm()


def test_a_convolution_is_the_matrix_of_its_rows_in_any_memory_format() -> None:
    start, gradient = normal(8, 4, 3, 3), normal(8, 4, 3, 3, seed=1)
    moved = []
    for shape in ((8, 36), (8, 4, 3, 3), None):
        value = start.clone() if shape is None else start.clone().reshape(shape)
        weight = nn.Parameter(value.contiguous(memory_format=torch.channels_last) if shape is None else value)
        weight.grad = gradient.reshape(weight.shape)
        Muon([weight], lr=0.1).step()
        moved.append(weight.detach().reshape(8, 36))
    assert torch.equal(moved[0], moved[1])
    assert torch.allclose(moved[0], moved[2], atol=1e-6)


def test_one_of_many_of_a_shape_takes_the_step_it_takes_alone() -> None:
    many, gradients = [nn.Parameter(normal(9, 12, seed=i)) for i in range(3)], normal(3, 9, 12, seed=5)
    alone = nn.Parameter(many[1].detach().clone())
    for weight, gradient in zip([*many, alone], [*gradients, gradients[1]], strict=True):
        weight.grad = gradient.clone()
    Muon(many, lr=0.1).step()
    Muon([alone], lr=0.1).step()
    assert torch.allclose(many[1], alone, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "is_one"),
    [
        ((64, 64), True),
        ((64, 8, 3, 3), True),
        ((512, 64), True),
        ((64,), False),
        ((3, 64, 3, 3), False),
        ((1025, 64), False),
        ((), False),
    ],
)
def test_what_is_a_matrix(shape: tuple[int, ...], is_one: bool) -> None:
    """Biases, layers to colours and tables of words are none."""
    assert is_matrix(torch.zeros(shape)) is is_one


def test_all_else_takes_the_step_of_adamw() -> None:
    bias, matrix = nn.Parameter(torch.ones(8)), nn.Parameter(normal(8, 8))
    chosen = training(optimiser="muon")
    updater = Updater({"bias": bias, "matrix": matrix}, chosen, chosen.rate(), ALONE)
    before = matrix.detach().clone()
    bias.grad, matrix.grad = torch.linspace(1, 9, 8), normal(8, 8, seed=1)
    updater.step(0, torch.tensor(1.0))
    assert torch.allclose(bias, torch.full((8,), 0.9))
    assert (matrix - before).square().mean().sqrt().item() == pytest.approx(0.2 * 0.1, rel=0.2)
