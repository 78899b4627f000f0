"""What every solver does the same way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from latentry.diffusion.schedule import Level


def working(x: Tensor) -> Tensor:
    """x in the precision solvers compute in: float32, or float64 if that is what x is."""
    return x if x.dtype == torch.float64 else x.float()


def transitions(levels: Sequence[Level]) -> Iterator[tuple[int, Level, Level]]:
    """(step index, level now, level next). Raises `ValueError` if a clean level is not the last one.

    A clean level has no noise to remove: a task that rises again must add noise itself and start a new walk.
    """
    if any(level.sigma == 0 for level in levels[:-1]):
        raise ValueError("levels: a clean level (sigma = 0) before the last; a solver cannot leave it")
    for index, (level, after) in enumerate(pairwise(levels)):
        yield index, level, after
