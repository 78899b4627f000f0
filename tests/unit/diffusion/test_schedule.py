"""The schedule's numbers are the closed forms. If not, training and sampling would disagree about the noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentry.diffusion.schedule import Linear, ScaledLinear, Schedule, Sqrt, build_schedule, from_betas
from latentry.errors import UsageError


def test_named_schedules_have_the_betas_their_names_say() -> None:
    evenly = np.linspace(1e-3, 2e-2, 50)
    roots = np.linspace(math.sqrt(1e-3), math.sqrt(2e-2), 50) ** 2
    for options, betas in (
        (Linear(start=1e-3, end=2e-2, steps=50), evenly),
        (ScaledLinear(start=1e-3, end=2e-2, steps=50), roots),
        (Sqrt(start=1e-3, end=2e-2, steps=50), np.sqrt(evenly)),
    ):
        np.testing.assert_allclose(build_schedule(options).abar.numpy(), np.cumprod(1 - betas), rtol=1e-13)


def test_cosine_is_a_squared_cosine_until_the_betas_are_clipped() -> None:
    abar = build_schedule({"kind": "cosine", "steps": 100}).abar.numpy()
    angle = (np.arange(101) / 100 + 0.008) / 1.008 * np.pi / 2
    exact = np.cos(angle[1:]) ** 2 / np.cos(angle[0]) ** 2
    np.testing.assert_allclose(abar[:-1], exact[:-1], rtol=1e-12)
    assert abar[-1] == pytest.approx(abar[-2] * 0.001)


def test_betas_come_back() -> None:
    betas = torch.linspace(1e-4, 0.3, 40, dtype=torch.float64)
    torch.testing.assert_close(from_betas(betas).betas, betas, rtol=1e-12, atol=0)


def test_levels_and_training_tables_agree_and_preserve_variance() -> None:
    schedule = build_schedule("scaled_linear")
    t = torch.tensor([0, 1, 500, 999])
    alpha, sigma = schedule.at(t)
    assert alpha.dtype == sigma.dtype == torch.float32
    for i, time in enumerate(t.tolist()):
        level = schedule.level(time)
        assert level.t == time
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-15)
        assert (float(alpha[i]), float(sigma[i])) == pytest.approx((level.alpha, level.sigma), rel=6e-8)
    # the published end of sampling
    assert schedule.level(0).sigma == pytest.approx(0.0387, abs=1e-4)
    assert schedule.level(999).sigma / schedule.level(999).alpha == pytest.approx(84, abs=0.5)


def test_an_imported_table_is_kept_bit_for_bit() -> None:
    table = torch.cumprod(1 - torch.linspace(1e-3, 2e-2, 30), 0)
    assert table.dtype == torch.float32
    assert torch.equal(Schedule(table).abar.float(), table)


@pytest.mark.parametrize("table", [[0.5], [1.0, 0.5], [0.5, 0.5], [0.2, 0.4], [0.5, -0.1], [0.5, math.nan]])
def test_a_table_that_is_no_schedule_is_refused(table: list[float]) -> None:
    with pytest.raises(UsageError, match="strictly decreasing"):
        Schedule(torch.tensor(table))
