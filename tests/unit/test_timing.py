"""If these fail, one of two things that are compared meets a busier machine than the other, or a first call counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from latentry.timing import Times, alternate, clocked


def test_things_take_turns_forwards_and_backwards_after_a_round_that_does_not_count() -> None:
    called: list[str] = []
    times = alternate({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, rounds=3)
    assert "".join(called) == "ab" + "ab" + "ba" + "ab"
    assert [len(found.seconds) for found in times.values()] == [3, 3]


def test_a_machine_that_slows_down_does_not_choose() -> None:
    """Each call takes longer than the one before: of two equal things neither may come out quicker."""
    passed = [0.0]

    def slowing(work: Callable[[], Any], wait: Callable[[], None]) -> tuple[float, Any]:
        passed[0] += 1
        return passed[0], work()

    times = alternate({"a": lambda: None, "b": lambda: None}, rounds=8, clock=slowing)
    assert times["a"].over(times["b"]) == pytest.approx(1, abs=0.05)


def test_a_budget_ends_the_rounds_but_not_the_first() -> None:
    assert len(alternate({"a": lambda: None}, rounds=100, seconds=-1)["a"].seconds) == 1


def test_calls_timed_together_are_told_for_one() -> None:
    times = alternate({"a": lambda: None}, rounds=2, repeat=4, clock=lambda work, wait: (8.0, work()))
    assert times["a"].seconds == (2.0, 2.0)


def test_median_and_quartiles_are_numpys() -> None:
    seconds = (5.0, 1.0, 4.0, 2.0, 9.0, 7.0)
    assert Times(seconds).median == np.median(seconds)
    assert Times(seconds).spread == pytest.approx(tuple(np.quantile(seconds, (0.25, 0.75))))
    assert Times((2.0, 1.0)).spread == (1.0, 2.0)


def test_the_clock_waits_before_and_after() -> None:
    order: list[str] = []

    def work() -> int:
        order.append("work")
        return 5

    _, result = clocked(work, lambda: order.append("wait"))
    assert order == ["wait", "work", "wait"]
    assert result == 5
