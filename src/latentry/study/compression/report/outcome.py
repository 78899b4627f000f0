"""What was measured so far of each factor, read from the study's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from latentry.study.compression.measuring import drawn_file, kept, reconstructed_file
from latentry.study.compression.options import Made, Part


class Point(NamedTuple):
    """Samples of one checkpoint. seconds: of compute spent until then. steps: they were drawn in. rate: samples/s.

    value, low, high: of the distance that decides, and its interval of 95%; less is better.
    """

    step: int
    seconds: float
    steps: int
    rate: float
    value: float
    low: float
    high: float
    figures: Sequence[dict[str, Any]] = ()


class Outcome(NamedTuple):
    """Of one factor. progress: its checkpoints, drawn in the most steps. speed: the last one, in each number of steps.

    first_stage: figures of its reconstructions. done: nothing is left to be measured.
    """

    factor: int
    progress: tuple[Point, ...]
    speed: tuple[Point, ...]
    first_stage: Sequence[dict[str, Any]] = ()
    done: bool = True

    @property
    def last(self) -> Point:
        """What all training came to."""
        return self.progress[-1]


def distance_name(made: Made) -> str:
    """Of the number that decides: the kernel distance, which has no bias of its own where images are few."""
    return f"KD[{made.features[0]}]"


def outcomes(folder: Path, made: Made) -> list[Outcome]:
    """All factors, measured or not. Raises LatentryError for a damaged file."""
    return [_outcome(folder, made, part) for part in made.parts]


def _outcome(folder: Path, made: Made, part: Part) -> Outcome:
    most, spent = max(made.options.steps), part.spent
    checkpoints = range(spent.second_every, spent.second + 1, spent.second_every)
    name = distance_name(made)
    progress = [_point(folder, part, step, most, name) for step in checkpoints]
    speed = [_point(folder, part, spent.second, steps, name) for steps in made.options.steps]
    first = kept(reconstructed_file(folder, part.factor)) if part.factor > 1 else None
    done = None not in (*progress, *speed) and (part.factor == 1 or first is not None)
    return Outcome(part.factor, _there(progress), _there(speed), first["figures"] if first else (), done)


def _there(points: Sequence[Point | None]) -> tuple[Point, ...]:
    return tuple(point for point in points if point is not None)


def _point(folder: Path, part: Part, step: int, steps: int, name: str) -> Point | None:
    found = kept(drawn_file(folder, part.factor, step, steps))
    if found is None:
        return None
    deciding = next(figure for figure in found["figures"] if figure["name"] == name)
    low, high = deciding["interval"] or (deciding["value"], deciding["value"])
    rate = found["samples_per_second"]
    return Point(step, part.seconds(step), steps, rate, deciding["value"], low, high, found["figures"])
