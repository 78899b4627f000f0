"""Equal compute: how many steps of each stage a factor can have in the same time, at the costs that were measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

from latentry.errors import UsageError
from latentry.study.compression.options import CompressionOptions, Costs, Spent

SAVED = 60.0
"""Seconds of training that a kill may cost, about."""
FEWEST = 5
"""Steps of the first stage, and of the second between two measurements, that are the least to call a training."""


def measuring(costs: Mapping[int, Costs], options: CompressionOptions, look: float) -> float:
    """Seconds for drawing and measuring all samples. look: of the features of one image."""
    evaluations = options.checkpoints * max(options.steps) + sum(options.steps[:-1])
    sets = options.checkpoints + len(options.steps) - 1
    return sum(options.samples * (evaluations * cost.draw + sets * look) for cost in costs.values())


def training_each(costs: Mapping[int, Costs], options: CompressionOptions, look: float) -> float:
    """Seconds of training of each factor: what of the budget measuring leaves, in equal parts.

    Raises UsageError where that trains nothing, with the budget that would.
    """
    measured = measuring(costs, options, look)
    each = (60 * options.budget - measured) / len(costs)
    least = max(_least(factor, cost, options) for factor, cost in costs.items())
    if each < least:
        wanted = math.ceil((least * len(costs) + measured) / 6) / 10
        raise UsageError(
            f"--budget: found {options.budget:g} minutes; on this machine {len(costs)} factors need {wanted:g} to "
            f"train at all, {measured / 60:.1f} of them for drawing {options.samples} samples each time. Raise it, or "
            "lower --samples, --checkpoints, --steps or --parameters, or leave out small factors."
        )
    return each


def _least(factor: int, cost: Costs, options: CompressionOptions) -> float:
    second = FEWEST * options.checkpoints * (cost.second + cost.encode)
    if factor == 1:
        return second
    return max(second / (1 - options.first_share), FEWEST * cost.first / options.first_share)


def spent(factor: int, cost: Costs, each: float, options: CompressionOptions, images: int, batch: int) -> Spent:
    """The steps of a factor that cost `each` seconds.

    images: encoded for a cache of latents, mirrored ones counted for themselves; batch: of the second stage. Latents
    are cached where that leaves more steps than encoding the images of each step anew.
    """
    share = 0.0 if factor == 1 else options.first_share
    first = int(share * each / cost.first) if share else 0
    left = each - first * cost.first
    encoding = images / batch * cost.encode
    cached = factor > 1 and (left - encoding) / cost.second > left / (cost.second + cost.encode)
    steps = (left - encoding) / cost.second if cached else left / (cost.second + cost.encode)
    every = max(1, int(steps) // options.checkpoints)
    saves = max(1, math.ceil(every * cost.second / SAVED))
    save = max(1, every // saves)
    every = save * (every // save)
    return Spent(
        first=first,
        second=every * options.checkpoints,
        second_every=every,
        save=save,
        cached=cached,
        encoding=encoding if cached else 0.0,
    )
