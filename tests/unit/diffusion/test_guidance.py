"""Guidance goes from the unconditional towards the conditional. If swapped, prompts would push images away."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from latentry.diffusion.guidance.classifier_free import classifier_free
from latentry.diffusion.prediction import PREDICTIONS
from latentry.diffusion.schedule import Level
from latentry.errors import UsageError

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
