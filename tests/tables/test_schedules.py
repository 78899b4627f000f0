"""Every schedule with every choice of levels. If these fail, asking for n steps may give another number."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from latentry.diffusion.levels import LEVELS
from latentry.diffusion.prediction import check_prediction
from latentry.diffusion.schedule import CLEAN, SCHEDULES, Level, Schedule, build_schedule
from latentry.errors import UsageError

each = pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "table"])  # has no default and no steps
each_levels = pytest.mark.parametrize("levels", LEVELS)
PURE_NOISE = Schedule(torch.cat([torch.linspace(0.999, 0.01, 99, dtype=torch.float64), torch.zeros(1).double()]))


def log_snr(level: Level) -> float:
    """log(alpha/sigma), -inf for pure noise and inf for clean."""
    with np.errstate(divide="ignore"):
        return float(np.log(np.float64(level.alpha)) - np.log(np.float64(level.sigma)))


@each
def test_defaults_make_a_schedule_an_epsilon_model_can_use(name: str) -> None:
    schedule = build_schedule(name)
    assert schedule.steps == 1000
    assert schedule.abar.dtype == torch.float64
    assert schedule.level(999).alpha < 0.02
    assert schedule.level(0).sigma < 0.11
    check_prediction(schedule, "epsilon")


@each
def test_a_misspelt_option_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="stepz"):
        build_schedule({"kind": name, "stepz": 10})


@each
@each_levels
@settings(deadline=None, max_examples=30)
@given(data=st.data(), total=st.integers(2, 400))
def test_any_number_of_steps_gives_exactly_that_many_falling_levels(name: str, levels: str, data, total: int) -> None:
    schedule = build_schedule({"kind": name, "steps": total})
    steps = data.draw(st.integers(1, total - 1 if levels == "published" else total))
    chosen = LEVELS[levels](schedule, steps)
    assert len(chosen) == steps + 1
    assert all(log_snr(now) < log_snr(after) for now, after in pairwise(chosen))
    assert all(-1 <= level.t <= total - 1 for level in chosen)
    assert all(level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-12) for level in chosen)
    if levels == "published":
        assert chosen[-1] == schedule.level(0)
    else:
        assert chosen[-1] == CLEAN
        assert chosen[0].t == (pytest.approx(total - 1) if levels != "leading" else total * (steps - 1) // steps)


@each_levels
@pytest.mark.parametrize("steps", [1, 2, 50, 99])
def test_a_schedule_that_ends_in_pure_noise_starts_there(levels: str, steps: int) -> None:
    chosen = LEVELS[levels](PURE_NOISE, steps)
    assert len(chosen) == steps + 1
    assert all(log_snr(now) < log_snr(after) for now, after in pairwise(chosen))
    if levels not in ("published", "leading"):
        assert chosen[0] == Level(99.0, 0.0, 1.0)


@each_levels
def test_more_steps_than_levels_and_none_at_all_are_errors(levels: str) -> None:
    most = 99 if levels == "published" else 100
    schedule = build_schedule({"kind": "linear", "steps": 100})
    assert len(LEVELS[levels](schedule, most)) == most + 1
    for steps in (most + 1, 0, -3):
        with pytest.raises(UsageError, match=f"1 to {most}"):
            LEVELS[levels](schedule, steps)


def test_all_steps_visit_every_level() -> None:
    schedule = build_schedule("linear")
    for name in ("uniform", "trailing", "quadratic"):
        assert [level.t for level in LEVELS[name](schedule, 1000)] == list(range(999, -2, -1))


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500])
def test_published_grid_is_the_published_one_where_it_divides(steps: int) -> None:
    chosen = LEVELS["published"](build_schedule("scaled_linear"), steps)
    assert [level.t for level in chosen] == [*reversed(range(1, 1001, 1000 // steps)), 0]


def test_examples_by_hand() -> None:
    schedule = build_schedule("linear")
    names = ("uniform", "trailing", "quadratic", "leading")
    times = {name: [level.t for level in LEVELS[name](schedule, 4)] for name in names}
    assert times == {
        "uniform": [999, 666, 333, 0, -1],
        "trailing": [999, 749, 499, 249, -1],
        "quadratic": [999, 444, 111, 0, -1],
        "leading": [750, 500, 250, 0, -1],
    }


def test_karras_levels_are_spaced_as_its_paper_says_and_t_lies_between_its_neighbours() -> None:
    schedule = build_schedule("scaled_linear")
    chosen = LEVELS["karras"](schedule, 12)[:-1]
    ends = [level.sigma / level.alpha for level in (schedule.level(999), schedule.level(0))]
    for i, level in enumerate(chosen):
        ratio = (ends[0] ** (1 / 7) + i / 11 * (ends[1] ** (1 / 7) - ends[0] ** (1 / 7))) ** 7
        assert level.sigma / level.alpha == pytest.approx(ratio, rel=1e-9)
        below, above = schedule.level(int(level.t)), schedule.level(min(int(level.t) + 1, 999))
        assert log_snr(above) - 1e-9 <= log_snr(level) <= log_snr(below) + 1e-9
        share = level.t - int(level.t)
        between = (1 - share) * log_snr(below) + share * log_snr(above)
        assert log_snr(level) == pytest.approx(between, abs=1e-9)


@each
def test_rounded_is_the_float32_table_upcast(name: str) -> None:
    exact, rounded = build_schedule(name), build_schedule({"kind": name, "rounded": True})
    assert torch.equal(rounded.abar, exact.abar.float().double())
    assert not torch.equal(rounded.abar, exact.abar)


def test_a_table_is_taken_as_it_is() -> None:
    abar = build_schedule("cosine").abar
    assert torch.equal(build_schedule({"kind": "table", "abar": abar.tolist()}).abar, abar)
    with pytest.raises(UsageError, match="strictly decreasing"):
        build_schedule({"kind": "table", "abar": [0.5, 0.9]})
