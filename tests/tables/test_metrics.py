"""Every metric of METRICS swept through the same checks. If these fail, a figure of a card means something else."""

from __future__ import annotations

import math

import pytest
import torch

from latentry.metrics import METRICS

GENERATOR = torch.Generator().manual_seed(0)
REAL = torch.rand(6, 3, 32, 32, generator=GENERATOR)
AGAIN = (REAL + 0.1 * torch.randn(REAL.shape, generator=GENERATOR)).clamp(0, 1)
each = pytest.mark.parametrize("name", METRICS)


def test_no_two_figures_have_one_name() -> None:
    assert len({metric.named("reconstructions") for metric in METRICS.values()}) == len(METRICS)


@each
def test_it_is_one_number_that_notices_worse_reconstructions(name: str) -> None:
    measure = METRICS[name].reconstructions
    worse = (REAL + 3 * (AGAIN - REAL)).clamp(0, 1)
    value, other = float(measure(REAL, AGAIN)), float(measure(REAL, worse))
    assert math.isfinite(value)
    assert abs(value - other) > 10 ** -METRICS[name].digits


@each
def test_the_order_of_the_images_does_not_matter(name: str) -> None:
    measure = METRICS[name].reconstructions
    assert float(measure(REAL.flip(0), AGAIN.flip(0))) == pytest.approx(float(measure(REAL, AGAIN)), rel=1e-6)
    assert float(measure(REAL.flip(0), AGAIN)) != pytest.approx(float(measure(REAL, AGAIN)), rel=1e-3)
