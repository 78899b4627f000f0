"""Classifier guidance is Bayes' rule. If it fails, a classifier leads to other images than those of its class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor
from torch.distributions import MultivariateNormal

from latentry.diffusion.guidance.classifier import LogProbability, classifier
from latentry.diffusion.schedule import CLEAN, Level
from latentry.diffusion.solvers import SOLVERS
from tests.unit.diffusion import gaussian
from tests.unit.diffusion.gaussian import log_ratio_levels, propagate, pure_noise_levels

# A mixture of the Gaussian of the other tests and another: shares, means, covariances.
SHARES = (0.3, 0.7)
MEANS = (gaussian.MEAN, torch.tensor([-1.5, 0.9], dtype=torch.float64))
COVARIANCES = (gaussian.COVARIANCE, torch.tensor([[0.5, -0.1], [-0.1, 0.8]], dtype=torch.float64))
EYE = torch.eye(2, dtype=torch.float64)


def of_class(k: int, x: Tensor, level: Level) -> Tensor:
    """E[x0 | x_t, class k], by the rules of Gaussian conditioning."""
    of_x = level.alpha**2 * COVARIANCES[k] + level.sigma**2 * EYE
    return MEANS[k] + level.alpha * (x - level.alpha * MEANS[k]) @ torch.linalg.solve(of_x, COVARIANCES[k])


def denoise(x: Tensor, level: Level) -> Tensor:
    """E[x0 | x_t] of the mixture; the classes' probabilities are scipy's."""
    densities = [
        share
        * multivariate_normal(
            (level.alpha * mean).numpy(), (level.alpha**2 * covariance + level.sigma**2 * EYE).numpy()
        ).pdf(x.detach().numpy())
        for share, mean, covariance in zip(SHARES, MEANS, COVARIANCES, strict=True)
    ]
    whole = np.atleast_2d(np.stack(densities, -1))
    shares = torch.from_numpy(whole / whole.sum(-1, keepdims=True))
    return sum(shares[:, k : k + 1] * of_class(k, x, level) for k in range(2))  # type: ignore[return-value]


def log_probability(k: int) -> LogProbability:
    """log p(k | x_t), as a classifier of noisy points would have it that made no mistake."""

    def of(x: Tensor, level: Level) -> Tensor:
        logits = torch.stack(
            [
                np.log(share)
                + MultivariateNormal(level.alpha * mean, level.alpha**2 * covariance + level.sigma**2 * EYE).log_prob(x)
                for share, mean, covariance in zip(SHARES, MEANS, COVARIANCES, strict=True)
            ],
            -1,
        )
        return logits.log_softmax(-1)[:, k]

    return of


@pytest.mark.parametrize("level", [Level(0.0, 0.95, 0.312), Level(0.0, 0.6, 0.8), Level(0.0, 0.05, 0.99875)], ids=str)
def test_scale_one_is_the_denoiser_of_the_class(level: Level) -> None:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for k in range(2):
        guided = classifier(denoise, log_probability(k), 1.0)
        torch.testing.assert_close(guided(x, level), of_class(k, x, level), rtol=1e-9, atol=1e-9)


def test_nothing_is_added_where_there_is_noise_alone() -> None:
    """sigma^2 / alpha is infinite there, and a gradient of 0 times that no number."""
    x = torch.randn(3, 2, dtype=torch.float64)
    level = Level(999.0, 0.0, 1.0)
    assert torch.equal(classifier(denoise, log_probability(0), 4.0)(x, level), denoise(x, level))


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_samples_the_class_then(name: str) -> None:
    """Under solvers, which switch gradients off: mean and covariance are those by the class's own denoiser."""
    guided = classifier(denoise, log_probability(0), 1.0)
    levels = log_ratio_levels(40, last=5.0)
    found, expected = (propagate(SOLVERS[name].solve, levels, by) for by in (guided, gaussian.denoise))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-7, atol=1e-7)


def test_more_scale_hits_the_class_more_often() -> None:
    """From its share of the mixture up to nearly always, counted by the classifier at the clean end."""
    start = torch.randn(400, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    hits = []
    for scale in (0.0, 1.0, 4.0):
        by = classifier(denoise, log_probability(0), scale)
        *_, last = SOLVERS["ddim"].solve(by, start, pure_noise_levels(40), noise=lambda i: start)
        hits.append(float((log_probability(0)(last.x, CLEAN).exp() > 0.5).double().mean()))
    assert hits[0] == pytest.approx(SHARES[0], abs=0.08)
    assert hits[0] < hits[1] < hits[2]
    assert hits[2] > 0.98
