"""Levels chosen by sigma/alpha, between those of training; their times are interpolated in its logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from latentry.diffusion.levels.times import check
from latentry.diffusion.schedule import CLEAN, Level, Schedule

KARRAS_RHO = 7.0
Array = NDArray[np.float64]


def karras(schedule: Schedule, steps: int) -> list[Level]:
    """Evenly spaced in (sigma/alpha)^(1/7) from T - 1 to 0, then clean. Source: Karras et al. 2022, eq. 5."""

    def spaced(high: float, low: float, count: int) -> Array:
        return KARRAS_RHO * np.log(np.linspace(high ** (1 / KARRAS_RHO), low ** (1 / KARRAS_RHO), count))

    return _visit("karras", schedule, steps, spaced)


def exponential(schedule: Schedule, steps: int) -> list[Level]:
    """Evenly spaced in log(sigma/alpha) from T - 1 to 0, then clean. Source: Lu et al. 2022, "DPM-Solver"."""

    def spaced(high: float, low: float, count: int) -> Array:
        return np.linspace(math.log(high), math.log(low), count)

    return _visit("exponential", schedule, steps, spaced)


def aligned(name: str, table: Sequence[float], schedule: Schedule, steps: int) -> list[Level]:
    """On a table of sigma/alpha for ten steps, between its numbers in their logarithms; the last is clean.

    The first is the schedule's own at T - 1; numbers of the table that the schedule does not reach are left out.
    Source: Sabour et al. 2024, "Align your steps", as they say to use it for other numbers of steps.
    """

    def spaced(high: float, low: float, count: int) -> Array:
        shares = np.linspace(0, 1, len(table))
        known = [(share, one) for share, one in zip(shares[1:-1], table[1:-1], strict=True) if low < one < high]
        places, ratios = zip((0.0, high), *known, (1.0, low), strict=True)
        return np.interp(np.arange(count) / count, places, np.log(ratios))

    return _visit(name, schedule, steps, spaced)


def at_ratio(schedule: Schedule, ratio: float) -> Level:
    """The level where sigma/alpha is this, held inside what the schedule has of finite ones."""
    logs = _logs(schedule)
    log = min(max(math.log(ratio), float(logs[0])), float(logs[-1]))
    return _level(float(np.interp(log, logs, np.arange(len(logs)))), log)


def _visit(name: str, schedule: Schedule, steps: int, spaced: Callable[[float, float, int], Array]) -> list[Level]:
    """spaced: (greatest sigma/alpha, least, how many) -> their logarithms.

    A last level of pure noise (alpha = 0) has no finite place on that axis: it comes first, the rest follow it.
    """
    check(name, steps, schedule.steps)
    logs = _logs(schedule)
    first = [] if len(logs) == schedule.steps else [schedule.level(schedule.steps - 1)]
    chosen = spaced(math.exp(logs[-1]), math.exp(logs[0]), max(steps - len(first), 1))
    times = np.interp(chosen, logs, np.arange(len(logs)))
    between = [_level(float(t), float(log)) for t, log in zip(times, chosen, strict=True)]
    return [*[*first, *between][:steps], CLEAN]


def _logs(schedule: Schedule) -> Array:
    """log(sigma/alpha) of the times where it is finite, rising."""
    abar = schedule.abar[schedule.abar > 0]
    logs: Array = (((1 - abar) / abar).log() / 2).numpy()
    return logs


def _level(t: float, log: float) -> Level:
    ratio = math.exp(log)
    alpha = 1 / math.sqrt(1 + ratio**2)
    return Level(t, alpha, ratio * alpha)
