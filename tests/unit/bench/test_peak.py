"""If these fail, a share of the hardware's peak is of other arithmetic than the network does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from latentry.bench.peak import products
from latentry.timing import flops

CPU = torch.device("cpu")


def test_a_linear_layer_is_two_for_each_weight_and_row() -> None:
    layer, x = nn.Linear(24, 40), torch.zeros(7, 24)
    assert flops(lambda: layer(x)) == 2 * 7 * 24 * 40


def test_a_convolution_is_two_for_each_weight_and_place() -> None:
    layer, x = nn.Conv2d(6, 10, 3, stride=2, padding=1), torch.zeros(3, 6, 16, 8)
    assert flops(lambda: layer(x)) == 2 * 3 * (8 * 4) * 6 * 10 * 9


def test_attention_is_its_two_products() -> None:
    """Fused or not: queries with keys, and weights with values."""
    q, k, v = torch.zeros(2, 4, 9, 8), torch.zeros(2, 4, 5, 8), torch.zeros(2, 4, 5, 8)
    with torch.no_grad():
        assert flops(lambda: functional.scaled_dot_product_attention(q, k, v)) == 2 * (2 * 2 * 4 * 9 * 5 * 8)


def test_a_backward_pass_is_twice_the_forward_pass() -> None:
    layer, x = nn.Linear(24, 40), torch.zeros(7, 24, requires_grad=True)
    assert flops(lambda: layer(x).sum().backward()) == 3 * (2 * 7 * 24 * 40)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["matmul", "conv"])
def test_the_large_products_are_as_large_as_they_are_said_to_be(name: str, precision: str) -> None:
    work, count = products(CPU, precision)[name]
    assert flops(work) == count > 1e9
