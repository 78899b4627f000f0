"""The one clock of comparisons, and what is done in its time.

Things are done in turn, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")
Work = Callable[[], object]

BUSY = 1.25
"""Load a processor from which a machine counts as busy."""
FEWEST = 4
"""Times from which quartiles say something."""


def _at_once() -> None:
    return None


@dataclass(frozen=True)
class Times:
    """Seconds of one call, a number for each round. The rounds of things that were timed together are the same."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and the third quartile; of fewer than four times the least and the most."""
        if len(self.seconds) < FEWEST:
            return min(self.seconds), max(self.seconds)
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return first, third

    def over(self, other: Times) -> float:
        """How many times as long as `other`: the median of the rounds' ratios."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds))


def clocked(work: Callable[[], Result], wait: Callable[[], None] = _at_once) -> tuple[float, Result]:
    """(seconds, result) of some work. wait: until the device has finished (`devices.synchronise`)."""
    wait()
    start = time.perf_counter()
    result = work()
    wait()
    return time.perf_counter() - start, result


def alternate(
    things: Mapping[Key, Work],
    *,
    rounds: int = 7,
    seconds: float = math.inf,
    warm: int = 1,
    repeat: int = 1,
    wait: Callable[[], None] = _at_once,
    clock: Callable[..., tuple[float, Any]] = clocked,
) -> dict[Key, Times]:
    """Time some things in turn, forwards and backwards.

    rounds: at most; after `seconds` no other is begun, but one is done. warm: rounds before that do not count, since
    the first prepares much. repeat: calls that are timed together. wait, clock: see `clocked`.
    """
    took: dict[Key, list[float]] = {key: [] for key in things}
    for _ in range(warm):
        for thing in things.values():
            thing()
    end = time.monotonic() + seconds
    for number in range(rounds):
        for key in list(things)[:: 1 if number % 2 == 0 else -1]:
            taken, _ = clock(_repeated(things[key], repeat), wait)
            took[key].append(taken / repeat)
        if time.monotonic() > end:
            break
    return {key: Times(tuple(found)) for key, found in took.items()}


def _repeated(thing: Work, times: int) -> Work:
    def work() -> None:
        for _ in range(times):
            thing()

    return work


def busy() -> bool:
    """Whether other work competes for the processors."""
    try:
        return os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)
    except OSError:
        return False


def flops(work: Work) -> int:
    """Multiplications and additions, each counted for itself, of products, convolutions and attention, as torch counts.

    work: is done once, as it stands: nothing of it may be compiled or packed.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return int(counter.get_total_flops())
