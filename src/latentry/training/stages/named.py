"""Which images a step was about, by their paths, for a person to look at."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from latentry.data.dataset import ImageData
from latentry.data.sample import Example


def paths_of(data: ImageData, step: int, batch: int) -> list[str]:
    """The paths in the data folder of the images that a step (from 0) is about, of all processes and parts."""
    return _paths(data, range(step * batch, (step + 1) * batch))


def damaged_paths(data: ImageData, parts: Iterable[Example]) -> list[str]:
    """The paths of those images whose pixels or moments hold a value that is not finite."""
    positions: list[int] = []
    for part in parts:
        values = part.image if part.image is not None else part.moments
        if values is not None:
            finite = torch.isfinite(values).flatten(1).all(1).tolist()
            positions += [position for position, good in zip(part.positions, finite, strict=True) if not good]
    return _paths(data, positions)


def _paths(data: ImageData, positions: Iterable[int]) -> list[str]:
    indices = (data.pick(position).index for position in positions)
    return list(dict.fromkeys(data.records[index].path for index in indices))
