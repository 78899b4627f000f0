"""Copies among images that are at hand."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from latentry.metrics.copies.copies import RATE, Copies
from latentry.metrics.copies.gather import Gallery, looked_at, numbered
from latentry.metrics.copies.judging import judge
from latentry.metrics.copies.views import views
from latentry.metrics.features import Features


def find_copies(
    samples: Iterable[Tensor],
    training: Iterable[Tensor],
    held_out: Iterable[Tensor] = (),
    features: Features | None = None,
    rate: float = RATE,
) -> Copies:
    """Judge each sample by its nearest training image, in pixels and in features, also mirrored.

    samples, training, held_out: images as (B, C, H, W) in [0, 1] or uint8, in parts of any B; each is read once. A
    sample is a copy where its distance, over the local spacing of the training set, is one that images held out reach
    at most at the `rate`. Held out are those given, and some of the training images one at a time.
    Raises UsageError for no samples, and for fewer than 20 images to judge by.
    """
    looks, gallery = views(features), Gallery()
    try:
        for numbers, part in numbered(training):
            gallery.take(numbers, {name: view(part) for name, view in looks.items()})
        sets = [[one] if len(one.numbers) else [] for one in (looked_at(looks, x) for x in (samples, held_out))]
        return judge(sets[0], gallery, sets[1], rate)
    finally:
        gallery.close()
