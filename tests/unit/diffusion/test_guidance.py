"""Guidance goes from one prediction through another. If wrong, prompts push images away, or colours burn out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise
from latentry.diffusion.guidance.autoguidance import beside
from latentry.diffusion.guidance.classifier_free import classifier_free
from latentry.diffusion.guidance.interval import during
from latentry.diffusion.prediction import PREDICTIONS
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers import SOLVERS
from latentry.errors import UsageError
from tests.unit.diffusion import gaussian

LEVEL = Level(500.0, 0.6, 0.8)


def both(x: Tensor, level: Level) -> tuple[Tensor, ...]:
    return x + 1, x - 1


def test_scales() -> None:
    x = torch.tensor([10.0])
    values = {scale: float(classifier_free(both, scale)(x, LEVEL)) for scale in (0.0, 0.5, 1.0, 3.0)}
    assert values == pytest.approx({0.0: 9.0, 0.5: 10.0, 1.0: 11.0, 3.0: 15.0})


def test_mixing_x0_is_mixing_epsilon() -> None:
    """The published code mixes epsilon: e_u + s (e_c - e_u)."""
    x, cond, uncond = (torch.tensor([v], dtype=torch.float64) for v in (0.3, -0.7, 0.2))
    to_x0 = PREDICTIONS["epsilon"].x0
    mixed = classifier_free(lambda x, level: (to_x0(x, cond, 0.6, 0.8), to_x0(x, uncond, 0.6, 0.8)), 3.0)(x, LEVEL)
    torch.testing.assert_close(mixed, to_x0(x, uncond + 3 * (cond - uncond), 0.6, 0.8))


def test_scale_one_needs_no_unconditional_prediction_and_others_say_so() -> None:
    x = torch.tensor([10.0])
    assert torch.equal(classifier_free(lambda x, level: (x,), 1.0)(x, LEVEL), x)
    with pytest.raises(UsageError, match="guidance"):
        classifier_free(lambda x, level: (x,), 2.0)(x, LEVEL)


def test_outside_of_its_interval_guidance_is_not_even_called() -> None:
    """Its second half of the network calls is what an interval saves."""
    asked: list[float] = []

    def guided(x: Tensor, level: Level) -> Tensor:
        asked.append(level.t)
        return x + 1

    denoise = during(200.0, 800.0, guided, lambda x, level: x)
    x = torch.zeros(1)
    found = [float(denoise(x, Level(t, 0.6, 0.8))) for t in (999.0, 800.0, 500.0, 200.0, 199.9)]
    assert found == [0, 1, 1, 1, 0]
    assert asked == [800, 500, 200]


def blurred(by: float) -> Denoise:
    """The perfect denoiser of the Gaussian blurred by a variance, as a model that learnt it too broadly."""
    wide = gaussian.COVARIANCE + by * torch.eye(2, dtype=torch.float64)

    def denoise(x: Tensor, level: Level) -> Tensor:
        of_x = level.alpha**2 * wide + level.sigma**2 * torch.eye(2, dtype=torch.float64)
        return gaussian.MEAN + (x - level.alpha * gaussian.MEAN) @ (level.alpha * torch.linalg.solve(of_x, wide))

    return denoise


@pytest.mark.parametrize("name", SOLVERS)
def test_autoguidance_takes_back_an_error_that_a_worse_model_has_twice(name: str) -> None:
    """Where the worse model errs twice as much, scale 2 leads back: to the true covariance, which is known."""
    main, worse = blurred(0.02), blurred(0.04)
    guided = classifier_free(beside(main, worse), 2.0)
    levels = gaussian.log_ratio_levels(256)
    perfect = gaussian.propagate(SOLVERS[name].solve, levels)[1]
    errors = [
        float((gaussian.propagate(SOLVERS[name].solve, levels, by)[1] - perfect).norm()) for by in (worse, main, guided)
    ]
    assert errors[0] > 1.5 * errors[1]
    assert errors[2] < errors[1] / 5
    assert all(map(math.isfinite, errors))
