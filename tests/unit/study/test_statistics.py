"""If these fail, a study reports a preference that its answers do not show, or hides one that they do."""

from __future__ import annotations

import pytest
from scipy import stats

from latentry.study.preference.statistics import at_least, binomial, needed, wilson

CASES = [(0, 1), (1, 1), (0, 7), (3, 7), (7, 7), (50, 100), (37, 120), (706, 1000), (16, 100), (4999, 10_000)]


@pytest.mark.parametrize(("k", "n"), CASES)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_intervals_are_scipys(k, n, confidence):
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("k", "n"), CASES)
def test_the_exact_test_is_scipys(k, n):
    assert binomial(k, n) == pytest.approx(stats.binomtest(k, n).pvalue, rel=1e-9)
    assert at_least(k, n) == pytest.approx(stats.binom.sf(k - 1, n, 0.5), rel=1e-9)


def test_many_answers_neither_overflow_nor_take_long():
    assert binomial(50_500, 100_000) == pytest.approx(stats.binomtest(50_500, 100_000).pvalue, rel=1e-8)


def test_no_answers_say_nothing():
    assert wilson(0, 0) == (0, 1)
    assert binomial(0, 0) == 1


def test_the_rule_of_the_checks_is_what_the_report_says():
    """All of 5 to 7, 7 of 8, 9 of 10, 15 of 20; four tell nothing."""
    assert [needed(n) for n in (0, 4, 5, 6, 7, 8, 10, 20)] == [None, None, 5, 6, 7, 7, 9, 15]
    assert all(stats.binom.sf(k - 1, n, 0.5) <= 0.05 < stats.binom.sf(k - 2, n, 0.5) for n, k in ((8, 7), (20, 15)))
