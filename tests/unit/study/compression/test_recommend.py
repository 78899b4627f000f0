"""If these fail, a person is told to take a factor that the numbers do not single out."""

from __future__ import annotations

from latentry.study.compression.report.outcome import Outcome, Point
from latentry.study.compression.report.recommend import recommendation, short


def outcome(factor: int, *found: tuple[float, float], rate: float = 10.0, done: bool = True) -> Outcome:
    """found: (value, half an interval) of each checkpoint."""
    points = [Point(100 * i, 60.0 * i, 20, rate, v, v - half, v + half) for i, (v, half) in enumerate(found, 1)]
    return Outcome(factor, tuple(points), tuple(points[-1:]), done=done)


def test_a_factor_that_is_clearly_best_is_taken() -> None:
    lines = recommendation([outcome(1, (0.9, 0.1)), outcome(4, (0.1, 0.05)), outcome(16, (0.3, 0.1))])
    assert lines[0] == "Take f = 4: f = 4 with 0.1 (0.05 to 0.15) is clearly better than every other factor."
    assert lines[1] == "Clearly worse: f = 1 with 0.9 (0.8 to 1), f = 16 with 0.3 (0.2 to 0.4)."
    assert len(lines) == 2


def test_overlapping_intervals_have_no_winner() -> None:
    lines = recommendation([outcome(1, (0.9, 0.1)), outcome(4, (0.2, 0.1)), outcome(8, (0.25, 0.1))])
    assert lines[0].startswith(
        "No clear winner between 4 and 8: their intervals overlap (f = 4 with 0.2 (0.1 to 0.3), "
    )
    assert lines[1].startswith("Clearly worse: f = 1 with 0.9")


def test_of_equals_the_faster_is_named() -> None:
    slow, fast = outcome(4, (0.2, 0.1), rate=10), outcome(8, (0.25, 0.1), rate=40)
    lines = recommendation([outcome(1, (0.9, 0.1)), slow, fast])
    assert lines[1] == (
        "Of these f = 8 draws fastest (40 samples/s, the next (f = 4) 10): take it where speed matters."
    )
    assert not any("fastest" in line for line in recommendation([slow, outcome(8, (0.25, 0.1), rate=11)]))


def test_nothing_shown_is_said() -> None:
    lines = recommendation([outcome(f, (0.2 + f / 100, 0.2)) for f in (2, 4, 8)])
    assert lines[0].startswith("No clear winner between 2, 4 and 8")
    assert lines[1].startswith("No factor is shown to be better than another")


def test_only_overlap_with_the_best_counts() -> None:
    """A chain of overlaps does not make the last equal to the first."""
    lines = recommendation([outcome(2, (0.1, 0.1)), outcome(4, (0.25, 0.1)), outcome(8, (0.4, 0.1))])
    assert lines[0].startswith("No clear winner between 2 and 4:")
    assert "Clearly worse: f = 8" in lines[1]


def test_factors_that_still_improve_are_named() -> None:
    falling, flat = outcome(1, (0.9, 0.1), (0.5, 0.1)), outcome(4, (0.2, 0.1), (0.19, 0.1))
    assert recommendation([falling, flat])[-1] == (
        "f = 1 was still clearly improving at the end: with more compute the order may be another."
    )


def test_unfinished_factors_take_no_part() -> None:
    half = outcome(8, (0.01, 0.001), done=False)
    lines = recommendation([outcome(1, (0.9, 0.1)), outcome(4, (0.1, 0.05)), half])
    assert lines[:2] == [
        "Not finished yet: f = 8.",
        "Take f = 4: f = 4 with 0.1 (0.05 to 0.15) is clearly better than every other factor.",
    ]
    assert recommendation([outcome(1, (0.9, 0.1)), half])[-1] == "Nothing can be said before two factors are finished."


def test_numbers_are_short() -> None:
    assert [short(v) for v in (0.0123456, -0.5, 999.4, 999.9, 351_221.9, 14_961_890.4)] == [
        *("0.0123", "-0.5", "999", "1k", "351k", "15M")
    ]
