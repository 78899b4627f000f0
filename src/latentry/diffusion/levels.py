"""Which noise levels to visit: functions of (schedule, steps), from noise to clean, steps + 1 levels long."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from latentry.diffusion.schedule import CLEAN, Level, Schedule
from latentry.errors import UsageError

KARRAS_RHO = 7.0


def _check(name: str, steps: int, most: int) -> None:
    if not 1 <= steps <= most:
        raise UsageError(f"steps: {steps} with levels {name}; accepted are 1 to {most}. Ask for at most {most} steps.")


def _visit(schedule: Schedule, times: Iterable[int]) -> list[Level]:
    return [schedule.level(t) for t in times]


def uniform(schedule: Schedule, steps: int) -> list[Level]:
    """Evenly spaced times from T - 1 to 0, both included, then clean."""
    _check("uniform", steps, schedule.steps)
    gaps, last = max(steps - 1, 1), schedule.steps - 1
    return [*_visit(schedule, (last - (2 * i * last + gaps) // (2 * gaps) for i in range(steps))), CLEAN]


def trailing(schedule: Schedule, steps: int) -> list[Level]:
    """Times T/n apart from T - 1 down, so that the last step to clean is as long as the others.

    Source: Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", table 2.
    """
    _check("trailing", steps, schedule.steps)
    return [
        *_visit(schedule, ((2 * i * schedule.steps + steps) // (2 * steps) - 1 for i in range(steps, 0, -1))),
        CLEAN,
    ]


def quadratic(schedule: Schedule, steps: int) -> list[Level]:
    """Times at squares of evenly spaced values from T - 1 to 0: denser near clean (Song et al. 2021, D.2)."""
    _check("quadratic", steps, schedule.steps)
    last = schedule.steps - 1
    if steps == 1:
        return [schedule.level(last), CLEAN]
    times: list[int] = []
    for i in range(steps):
        square = round(last * (i / (steps - 1)) ** 2)
        times.append(max(square, times[-1] + 1) if times else square)
    return [*_visit(schedule, reversed(times)), CLEAN]


def karras(schedule: Schedule, steps: int) -> list[Level]:
    """Evenly spaced in (sigma/alpha)^(1/7) from T - 1 to 0, then clean; t is interpolated in log(sigma/alpha).

    A last level of pure noise (alpha = 0) has no finite place on that axis: it comes first, the rest follow it.
    Source: Karras et al. 2022, eq. 5.
    """
    _check("karras", steps, schedule.steps)
    finite = schedule.abar > 0
    first = [] if bool(finite.all()) else [schedule.level(schedule.steps - 1)]
    abar = schedule.abar[finite]
    ratios = ((1 - abar) / abar).sqrt().numpy()  # sigma/alpha, rising with t
    roots = np.linspace(ratios[-1] ** (1 / KARRAS_RHO), ratios[0] ** (1 / KARRAS_RHO), max(steps - len(first), 1))
    times = np.interp(KARRAS_RHO * np.log(roots), np.log(ratios), np.arange(len(ratios)))
    between = [_from_ratio(float(t), float(root**KARRAS_RHO)) for t, root in zip(times, roots, strict=True)]
    return [*[*first, *between][:steps], CLEAN]


def _from_ratio(t: float, ratio: float) -> Level:
    alpha = 1 / math.sqrt(1 + ratio**2)
    return Level(t, alpha, ratio * alpha)


def leading(schedule: Schedule, steps: int) -> list[Level]:
    """Times T/n apart from 0 up, so that the first is below T - 1; then clean: what most diffusers folders ask for.

    Source: Lin et al. 2024, table 2.
    """
    _check("leading", steps, schedule.steps)
    return [*_visit(schedule, (i * schedule.steps // steps for i in reversed(range(steps)))), CLEAN]


def published(schedule: Schedule, steps: int) -> list[Level]:
    """The grid of the published samplers: times 1 + i T/n, ending at abar_0 and not at clean.

    Where n divides T this is theirs exactly; elsewhere theirs has more than n steps, this has n.
    """
    _check("published", steps, schedule.steps - 1)
    return _visit(schedule, [*(1 + i * schedule.steps // steps for i in reversed(range(steps))), 0])


LEVELS = {
    "uniform": uniform,
    "trailing": trailing,
    "quadratic": quadratic,
    "karras": karras,
    "leading": leading,
    "published": published,
}
