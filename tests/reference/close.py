"""How near is near enough: shares of a tensor's largest magnitude."""

from __future__ import annotations

from torch import Tensor


def assert_close(actual: Tensor, expected: Tensor, what: str, tolerance: float = 3e-5) -> None:
    """The largest difference is at most `tolerance` of the largest expected magnitude."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    error = (actual.double() - expected.double()).abs().max().item()
    bound = tolerance * expected.double().abs().max().item()
    assert error <= bound, f"{what}: off by {error:.2e}, more than {bound:.2e}"
