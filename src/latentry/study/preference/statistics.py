"""Of n answers k for one side: how large the share is in truth, and whether it differs from one half."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share k / n (Wilson 1927): the shares that k would not contradict. (0, 1) for no answers."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half) if k else 0.0, min(1.0, centre + half) if k < n else 1.0


def at_least(k: int, n: int) -> float:
    """The probability of k or more right of n by guessing, exactly."""
    return _tail(n - k, n)


def binomial(k: int, n: int) -> float:
    """The two-sided p of k of n if both sides were chosen alike (exact binomial test against one half)."""
    return min(1.0, 2 * _tail(min(k, n - k), n))


def needed(n: int, level: float = 0.05) -> int | None:
    """How many of n checks must be right, so that a guesser gets there with a probability of at most `level`.

    None where even all of them would not tell.
    """
    return next((k for k in range(n + 1) if at_least(k, n) <= level), None)


def _tail(k: int, n: int) -> float:
    """The probability of k or fewer of n at one half: whole numbers, rounded once."""
    if k < 0:
        return 0.0
    term = total = 1
    for i in range(1, k + 1):
        term = term * (n - i + 1) // i
        total += term
    return total / (1 << n)
