"""Levels chosen by their times, which are those of training."""

from __future__ import annotations

from collections.abc import Iterable

from latentry.diffusion.schedule import CLEAN, Level, Schedule
from latentry.errors import UsageError


def check(name: str, steps: int, most: int) -> None:
    if not 1 <= steps <= most:
        raise UsageError(f"steps: {steps} with levels {name}; accepted are 1 to {most}. Ask for at most {most} steps.")


def _visit(schedule: Schedule, times: Iterable[int]) -> list[Level]:
    return [schedule.level(t) for t in times]


def uniform(schedule: Schedule, steps: int) -> list[Level]:
    """Evenly spaced times from T - 1 to 0, both included, then clean."""
    check("uniform", steps, schedule.steps)
    gaps, last = max(steps - 1, 1), schedule.steps - 1
    return [*_visit(schedule, (last - (2 * i * last + gaps) // (2 * gaps) for i in range(steps))), CLEAN]


def trailing(schedule: Schedule, steps: int) -> list[Level]:
    """Times T/n apart from T - 1 down, so that the last step to clean is as long as the others.

    Source: Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", table 2.
    """
    check("trailing", steps, schedule.steps)
    return [
        *_visit(schedule, ((2 * i * schedule.steps + steps) // (2 * steps) - 1 for i in range(steps, 0, -1))),
        CLEAN,
    ]


def quadratic(schedule: Schedule, steps: int) -> list[Level]:
    """Times at squares of evenly spaced values from T - 1 to 0: denser near clean (Song et al. 2021, D.2)."""
    check("quadratic", steps, schedule.steps)
    last = schedule.steps - 1
    if steps == 1:
        return [schedule.level(last), CLEAN]
    times: list[int] = []
    for i in range(steps):
        square = round(last * (i / (steps - 1)) ** 2)
        times.append(max(square, times[-1] + 1) if times else square)
    return [*_visit(schedule, reversed(times)), CLEAN]


def leading(schedule: Schedule, steps: int) -> list[Level]:
    """Times T/n apart from 0 up, so that the first is below T - 1; then clean: what most diffusers folders ask for.

    Source: Lin et al. 2024, table 2.
    """
    check("leading", steps, schedule.steps)
    return [*_visit(schedule, (i * schedule.steps // steps for i in reversed(range(steps)))), CLEAN]


def published(schedule: Schedule, steps: int) -> list[Level]:
    """The grid of the published samplers: times 1 + i T/n, ending at abar_0 and not at clean.

    Where n divides T this is theirs exactly; elsewhere theirs has more than n steps, this has n.
    """
    check("published", steps, schedule.steps - 1)
    return _visit(schedule, [*(1 + i * schedule.steps // steps for i in reversed(range(steps))), 0])
