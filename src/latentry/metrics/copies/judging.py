"""From what was looked at to copies: nearness of samples against that of images that are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from latentry.errors import UsageError
from latentry.metrics.copies.calibration import LEAST, SPACING, HeldOut, nearness
from latentry.metrics.copies.copies import FEWEST, RATE, SHOWN, Copies
from latentry.metrics.copies.gather import Gallery, Looks, Spread, together
from latentry.metrics.copies.search import Neighbours, Queries, nearest

Gathered = Callable[[Any], list[Any]]


def alone(value: Any) -> list[Any]:
    """What each process has, where there is one."""
    return [value]


def judge(
    samples: Sequence[Looks],
    training: Gallery,
    held_out: Sequence[Looks] = (),
    rate: float = RATE,
    gathered: Gathered = alone,
) -> Copies:
    """Which samples are copies. gathered: makes of what one process has a list of what each has, by rank.

    Raises UsageError for no samples, and for fewer than 20 images to judge by.
    """
    ours, theirs = (together([one for part in gathered([*x]) for one in part]) for x in (samples, held_out))
    in_turn = together(Spread(one for part in gathered(training.some()) for one in part).parts)
    counts = [len(one.numbers) for one in (ours, theirs, in_turn)]
    if not counts[0] or not counts[2] or counts[1] + counts[2] < FEWEST:
        raise UsageError(
            f"copies: {counts[0]} samples, {counts[1]} held-out and {counts[2]} training images; at least 1 sample and "
            f"{FEWEST} images to judge it by are needed. Give more images."
        )
    whole = sum(gathered(len(training.numbers)))
    k, near = min(SPACING, whole - 1) + 1, dict[str, Neighbours]()
    for name in in_turn.plain:
        sets = [one.queries(name, one is in_turn) for one in (ours, theirs, in_turn) if len(one.numbers)]
        near[name] = _nearest(_joined(sets), training, name, k, gathered)
    return _copies(near, ours.numbers, len(theirs.numbers), whole, rate)


def _nearest(queries: Queries, training: Gallery, view: str, k: int, gathered: Gathered) -> Neighbours:
    """Among the training images of all processes."""
    chunks = training.shelves[view].chunks() if view in training.shelves else ()
    mine = nearest(queries, chunks, k, torch.tensor(training.numbers, dtype=torch.int64))
    sides = zip(*((one.distances, one.rows, one.mirrored) for one in gathered(mine)), strict=True)
    distances, rows, mirrored = (torch.cat(side, 1) for side in sides)
    order = distances.topk(k, 1, largest=False).indices
    return Neighbours(*(side.gather(1, order) for side in (distances, rows, mirrored)))


def _copies(near: dict[str, Neighbours], numbers: Tensor, held: int, training: int, rate: float) -> Copies:
    """near: of samples, held-out images and those held out in turn, in this order. held: how many held-out ones."""
    samples, chances, beyond = len(numbers), dict[str, Tensor](), True
    for name, found in near.items():
        values = nearness(found.distances)
        law = HeldOut.of(values[samples:])
        chances[name] = law.p(values)
        beyond &= float(law.p(torch.tensor([LEAST], dtype=torch.float64).log())) * len(near) > rate
    p = (torch.stack(list(chances.values())).min(0).values * len(chances)).clamp(max=1)
    shown = {
        name: Neighbours(*(side[:samples, :SHOWN] for side in (one.distances, one.rows, one.mirrored)))
        for name, one in near.items()
    }
    as_near = int((p[samples : samples + held] <= rate).sum())
    warning = (
        f"copies: so many held-out images repeat training images that no sample can be called a copy at a rate of "
        f"{rate:g}. Remove repeated images from the data."
    )
    each = {name: one[:samples] for name, one in chances.items()}
    return Copies(rate, p[:samples], numbers, shown, each, (held, as_near), training, warning if beyond else "")


def _joined(parts: Sequence[Queries]) -> Queries:
    """Queries one set after another."""
    return Queries(*(torch.cat(side) for side in zip(*((p.plain, p.mirrored, p.own) for p in parts), strict=True)))
