"""Which noise levels to visit: functions of (schedule, steps), from noise to clean, steps + 1 levels long."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from latentry.diffusion.levels.align_your_steps import TABLES
from latentry.diffusion.levels.ratios import aligned, exponential, karras
from latentry.diffusion.levels.times import leading, published, quadratic, trailing, uniform
from latentry.diffusion.schedule import Level, Schedule

LEVELS: dict[str, Callable[[Schedule, int], list[Level]]] = {
    "uniform": uniform,
    "trailing": trailing,
    "quadratic": quadratic,
    "karras": karras,
    "exponential": exponential,
    **{name: partial(aligned, name, table) for name, table in TABLES.items()},
    "leading": leading,
    "published": published,
}
