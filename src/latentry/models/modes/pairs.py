"""Which of two ways is faster, told from pairs of passes in turn, so that a busy machine cannot decide it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Pair = tuple[float, float]
"""Seconds of a pass the first way, and of one the second way beside it."""


@dataclass(frozen=True)
class Rule:
    """When the second way is taken: the median pair shows `clearly` of the first one's time or less, and nearly every
    one `hardly`.

    pairs: as many are timed at most, of which, all timed, `odd` may be above `hardly`; fewest: that are needed.
    """

    clearly: float
    hardly: float
    pairs: int = 9
    odd: int = 1
    fewest: int = 4

    def against(self, pairs: Sequence[Pair]) -> bool:
        """Whether no further pair could show that the second way is clearly faster."""
        ratios = [second / first for first, second in pairs]
        slow = sum(ratio > self.clearly for ratio in ratios)
        return sum(ratio > self.hardly for ratio in ratios) > self.odd or slow > self.pairs // 2

    def met(self, pairs: Sequence[Pair]) -> bool:
        """Whether it is, by enough pairs: by their median, and by each for itself."""
        if len(pairs) < self.fewest:
            return False
        ratios = [second / first for first, second in pairs]
        odd = sum(ratio > self.hardly for ratio in ratios)
        return statistics.median(ratios) <= self.clearly and odd <= (self.odd if len(pairs) >= self.pairs else 0)

    def time(self, first: Callable[[], float], second: Callable[[], float], more: Callable[[], bool]) -> list[Pair]:
        """Pairs of seconds, as many as the choice needs while there is time for `more`; the first alternates."""
        pairs: list[Pair] = []
        while len(pairs) < self.pairs and not self.against(pairs) and more():
            if len(pairs) % 2 == 0:
                before = first()
                pairs.append((before, second()))
            else:
                after = second()
                pairs.append((first(), after))
        return pairs


def spread(pairs: Sequence[Pair]) -> str:
    """The ratio of the second's time to the first's: median, and lowest to highest."""
    ratios = [second / first for first, second in pairs]
    return (
        f"{statistics.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f} in {len(pairs)} pairs)"
    )
