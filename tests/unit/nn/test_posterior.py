"""The posterior against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from latentry.nn.posterior import Gaussian


def moments() -> torch.Tensor:
    return torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_kl_and_likelihood_are_torchs() -> None:
    gaussian = Gaussian(moments())
    mean, log_variance = moments().chunk(2, dim=1)
    normal = Normal(mean, log_variance.mul(0.5).exp())
    standard = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    assert torch.allclose(gaussian.kl(), kl_divergence(normal, standard).sum(dim=(1, 2, 3)), atol=1e-12)
    x = torch.ones_like(mean)
    assert torch.allclose(gaussian.negative_log_likelihood(x), -normal.log_prob(x).sum(dim=(1, 2, 3)), atol=1e-12)


def test_samples_have_the_mean_and_deviation() -> None:
    gaussian = Gaussian(torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 200, 200))
    sample = gaussian.sample(torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(0)))
    assert sample.mean().item() == pytest.approx(2.0, abs=0.02)
    assert sample.std().item() == pytest.approx(0.6065, abs=0.01)  # exp(-1 / 2)


def test_half_precision_moments_give_a_full_precision_kl() -> None:
    """In bfloat16, mean² + variance - 1 - log-variance near the prior would cancel to nothing."""
    near = torch.full((1, 2, 64, 64), 0.0078125)
    assert Gaussian(near.bfloat16()).kl().dtype == torch.float32
    assert Gaussian(near.bfloat16()).kl().item() == pytest.approx(Gaussian(near.double()).kl().item(), rel=1e-3)
