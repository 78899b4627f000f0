"""What the numbers say of these images, in words that follow from them alone."""

from __future__ import annotations

from collections.abc import Sequence

from latentry.study.compression.report.outcome import Outcome

FASTER = 1.2
"""How many times as fast is worth a word."""


def recommendation(found: Sequence[Outcome]) -> list[str]:
    """Sentences. found: of each factor; those that are not measured to the end take no part, and are named."""
    done = [one for one in found if one.done and one.progress]
    missing = [one for one in found if one not in done]
    lines = [f"Not finished yet: {_names(missing)}."] if missing else []
    if len(done) < 2:
        return [*lines, "Nothing can be said before two factors are finished."]
    best = min(done, key=lambda one: one.last.value)
    rivals = [one for one in done if _overlap(one, best)]
    worse = [one for one in done if one not in rivals]
    lines += _winner(best) if len(rivals) == 1 else _draw(rivals, everyone=not worse)
    if worse:
        lines.append(f"Clearly worse: {', '.join(_measured(one) for one in worse)}.")
    return [*lines, *_still_falling(done)]


def _overlap(one: Outcome, other: Outcome) -> bool:
    return one.last.low <= other.last.high and other.last.low <= one.last.high


def _winner(best: Outcome) -> list[str]:
    return [f"Take f = {best.factor}: {_measured(best)} is clearly better than every other factor."]


def _draw(rivals: Sequence[Outcome], everyone: bool) -> list[str]:
    """Of those that cannot be told apart the fastest is named, as they differ in nothing else that was measured."""
    measured = ", ".join(_measured(one) for one in rivals)
    lines = [f"No clear winner between {_numbers(rivals)}: their intervals overlap ({measured})."]
    if everyone:
        lines.append(
            "No factor is shown to be better than another: a larger budget or more samples may tell them apart."
        )
    fastest, second = sorted(rivals, key=lambda one: -one.last.rate)[:2]
    if fastest.last.rate > FASTER * second.last.rate:
        rate = f"{fastest.last.rate:.3g} samples/s, the next (f = {second.factor}) {second.last.rate:.3g}"
        lines.append(f"Of these f = {fastest.factor} draws fastest ({rate}): take it where speed matters.")
    return lines


def _still_falling(done: Sequence[Outcome]) -> list[str]:
    """Those whose last checkpoint is clearly better than the one before: their order may change with more training."""
    falling = [one for one in done if len(one.progress) > 1 and one.last.high < one.progress[-2].low]
    if not falling:
        return []
    verb = "was" if len(falling) == 1 else "were"
    return [f"{_names(falling)} {verb} still clearly improving at the end: with more compute the order may be another."]


def _measured(one: Outcome) -> str:
    last = one.last
    return f"f = {one.factor} with {short(last.value)} ({short(last.low)} to {short(last.high)})"


def short(value: float) -> str:
    """Three digits, and for large numbers a letter: 14.9M, 351k, 0.0123."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _names(some: Sequence[Outcome]) -> str:
    return f"f = {_numbers(some)}"


def _numbers(some: Sequence[Outcome]) -> str:
    *before, last = (str(one.factor) for one in some)
    return f"{', '.join(before)} and {last}" if before else last
