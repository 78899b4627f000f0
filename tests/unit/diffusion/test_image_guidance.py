"""Image guidance is the paper's equation, and exact where Bayes' rule can be worked out. If not, guides lead astray."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from latentry.diffusion.guidance.image import image
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers import SOLVERS
from tests.unit.diffusion.gaussian import COVARIANCE, MEAN, denoise, pure_noise_levels

LOOK = torch.tensor([0.8, 0.3], dtype=torch.float64)  # T D z: what of a point is seen
SEEN = 1.1
LEVELS = [Level(0.0, 0.95, math.sqrt(1 - 0.95**2)), Level(0.0, 0.6, 0.8), Level(0.0, 0.1, math.sqrt(0.99))]
X = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

NOISE = torch.randn(30, 20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def log_likelihood(x0: Tensor) -> Tensor:
    return -0.5 * (SEEN - x0 @ LOOK).square()


def known(x: Tensor, level: Level, variance: float) -> Tensor:
    """E[x0 | x_t, y] for y = LOOK x0 + noise: the joint Gaussian of (x0, x_t, y) conditioned by numpy."""
    covariance, look = COVARIANCE.numpy(), LOOK.numpy()[None]
    maps = np.concatenate([level.alpha * np.eye(2), look])  # (x_t, y) of x0, without their noises
    noises = np.diag([level.sigma**2, level.sigma**2, variance])
    gain = covariance @ maps.T @ np.linalg.inv(maps @ covariance @ maps.T + noises)
    given = np.concatenate([x.numpy(), np.full((len(x), 1), SEEN)], 1)
    return torch.from_numpy(MEAN.numpy() + (given - maps @ MEAN.numpy()) @ gain.T)


def left(level: Level) -> Tensor:
    """Cov[x0 | x_t]."""
    eye = torch.eye(2, dtype=torch.float64)
    return torch.linalg.inv(torch.linalg.inv(COVARIANCE) + (level.alpha / level.sigma) ** 2 * eye)


@pytest.mark.parametrize("level", LEVELS, ids=str)
def test_it_is_the_equation_of_the_paper(level: Level) -> None:
    """Eq. 16 and 17 as eps of a linear denoiser, whose Jacobian is alpha Cov[x0 | x_t] / sigma^2."""
    scale = 0.3
    x0 = denoise(X, level)
    eps = (X - level.alpha * x0) / level.sigma
    jacobian = level.alpha / level.sigma**2 * left(level)
    gradient = (SEEN - x0 @ LOOK)[:, None] * (LOOK @ jacobian)
    eps = eps - level.sigma * scale * gradient  # the paper's sign is that of its score
    found = image(denoise, log_likelihood, scale)(X, level)
    torch.testing.assert_close(found, (X - level.sigma * eps) / level.alpha, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("level", LEVELS, ids=str)
@pytest.mark.parametrize("variance", [0.0, 0.2])
def test_with_the_scale_of_bayes_rule_it_is_exact(level: Level, variance: float) -> None:
    """1 / (LOOK Cov LOOK + variance); without variance any larger scale, for the step ends at the top."""
    seen = float(LOOK @ left(level) @ LOOK)
    scales = [1 / (seen + variance)] + ([1e9] if variance == 0 else [])
    for scale in scales:
        found = image(denoise, log_likelihood, scale)(X, level)
        torch.testing.assert_close(found, known(X, level, variance), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_ends_where_the_guide_is(name: str) -> None:
    """Also with a scale at which plain gradient steps would grow without end, and from pure noise."""
    *_, last = SOLVERS[name].solve(
        image(denoise, log_likelihood, 1e6), X, pure_noise_levels(30), noise=lambda i: NOISE[i]
    )
    assert (last.x @ LOOK - SEEN).abs().max() < 1e-6
    assert last.x.std(0).min() > 0.1, "what is not seen stays free"


def test_it_depends_on_the_image_alone_and_bends_no_other() -> None:
    alone = image(denoise, log_likelihood, 5.0)(X[3:4], LEVELS[1])
    torch.testing.assert_close(image(denoise, log_likelihood, 5.0)(X, LEVELS[1])[3:4], alone)


def test_where_log_p_bends_up_the_scale_counts() -> None:
    """A parabola without a top bounds nothing, and a flat log p moves nothing."""
    level = LEVELS[1]
    jacobian = level.alpha / level.sigma**2 * left(level)
    x0 = denoise(X, level)
    found = image(denoise, lambda x0: 0.5 * x0.square().sum(1), 0.2)(X, level)
    torch.testing.assert_close(found, x0 + 0.2 * level.sigma**2 / level.alpha * x0 @ jacobian)
    assert torch.equal(image(denoise, lambda x0: 0 * x0.sum(1), 9.0)(X, level), x0)
