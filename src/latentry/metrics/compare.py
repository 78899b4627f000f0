"""Numbers of two sets of features, each with its name, counts and interval, and a warning of too few images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from latentry.errors import UsageError, did_you_mean
from latentry.metrics.distances import DISTANCES, Distance
from latentry.metrics.distances.inception_score import SEED, Scores
from latentry.metrics.distances.interval import DRAWS, Interval, around, deviations
from latentry.metrics.statistics import Statistics

ENOUGH_FOR_SCORE = 5000
FEWEST_VARIED = 16
"""Of fewer vectors, half of them have too few neighbours for an interval."""


@dataclass(frozen=True)
class Figure:
    """One number. images, reference: how many of each it is from. interval: 95%, or None where it was not asked for.

    warning: "" where there were images enough. seed: of all draws.
    """

    name: str
    value: float
    images: int
    reference: int
    interval: Interval | None = None
    warning: str = ""
    seed: int = 0


def compare(
    reference: Statistics,
    generated: Statistics,
    tag: str,
    metrics: Iterable[str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Figure]:
    """The numbers of DISTANCES that `metrics` names (None: all), in one kind of features.

    tag: of the features (`features.tag`). draws: subsets that intervals come from; 0 for none.
    Raises UsageError for unknown metrics, other widths, and too few images for a number to be defined.
    """
    figures = list[Figure]()
    for name in DISTANCES if metrics is None else metrics:
        if name not in DISTANCES:
            raise UsageError(f'metrics: no "{name}"; known: {", ".join(DISTANCES)}{did_you_mean(name, DISTANCES)}.')
        figures += _figures(DISTANCES[name], reference, generated, tag, draws, seed)
    return figures


def score(scores: Scores, tag: str, seed: int = SEED) -> Figure:
    """Inception Score in ten splits, shuffled as torch-fidelity does; its deviation makes the interval.

    scores: of the class scores that `InceptionFeatures.logits` makes of features.
    """
    found, count, splits = scores.score(), int(scores.images.sum()), len(scores.images)
    few = f"IS[{tag}] of {count} images: of fewer than {ENOUGH_FOR_SCORE} it is lower than of many."
    warning = "" if count >= ENOUGH_FOR_SCORE else few
    interval = around(found.mean, found.deviation / splits**0.5, 1.0, float(scores.answers.shape[1]))
    return Figure(f"IS[{tag}]", found.mean, count, 0, interval, warning, seed)


def gap(
    train: Statistics, held_out: Statistics, generated: Statistics, tag: str, metrics: Iterable[str] | None = None
) -> list[Figure]:
    """How much nearer the generated are to what was trained on: each number against held-out less that against train.

    Of distances, above 0 says that the model repeats its training images; of shares, below 0. Both are from equally
    many vectors, since a distance depends on how many there are.
    """
    count = min(len(train.vectors), len(held_out.vectors))
    sides = [
        compare(Statistics.of(side.vectors[:count]), Statistics.of(generated.vectors), tag, metrics, draws=0)
        for side in (held_out, train)
    ]
    return [
        Figure(f"gap of {one.name}", one.value - other.value, one.images, count, warning=one.warning)
        for one, other in zip(*sides, strict=True)
    ]


def _figures(
    distance: Distance, reference: Statistics, generated: Statistics, tag: str, draws: int, seed: int
) -> list[Figure]:
    real, other = reference.vectors, generated.vectors
    counts = len(other), len(real)
    if distance.moments and counts != (generated.count, reference.count):
        counts = generated.count, reference.count
        values = {"": distance.moments(reference.moments, generated.moments)}
    else:
        values = dict(distance.compute(real, other))
    spread = (
        deviations(distance.compute, real, other, draws, seed) if draws > 1 and min(len(real), len(other)) > 15 else {}
    )
    figures = []
    for part, value in values.items():
        interval = around(value, spread[part], distance.lowest, distance.highest) if spread else None
        name = distance.named(part, tag)
        warning = _warning(name, distance, min(counts), real.shape[1])
        figures.append(Figure(name, value, *counts, interval, warning, seed))
    return figures


def _warning(name: str, distance: Distance, count: int, width: int) -> str:
    """What too few images do to a number, and which numbers still mean something of so many; "" for enough."""
    if count >= distance.enough(width):
        return ""
    words = {"sliced": "MIND (SWD)", "kernel": "KID (KD)"}
    still = [word for other, word in words.items() if count >= DISTANCES[other].enough(width)]
    advice = f"{' and '.join(still)} still mean something." if still else "Only large differences mean something."
    return (
        f"{name} of {count} images: it needs {distance.enough(width)}, of fewer it says more of their number. {advice}"
    )
