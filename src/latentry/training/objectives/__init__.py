"""Objectives of training: what the first stage and its discriminator minimise."""

from __future__ import annotations

from collections.abc import Sequence

from latentry.training.objectives import perceptual
from latentry.training.objectives.adversarial import AdversarialObjective, DiscriminatorTerms, GeneratorTerms
from latentry.training.objectives.options import DiscriminatorOptions, ObjectiveOptions, PerceptualOptions

__all__ = [
    "AdversarialObjective",
    "DiscriminatorOptions",
    "DiscriminatorTerms",
    "GeneratorTerms",
    "ObjectiveOptions",
    "PerceptualOptions",
    "build",
]


def build(
    options: ObjectiveOptions,
    kind: str,
    image_channels: int,
    background: Sequence[float] | None = None,
) -> AdversarialObjective:
    """The objective of a first stage.

    kind: of the first stage; decides the default reduction. background: colour in [-1, 1] that the perceptual network
    sees RGBA images over. Finds or downloads perceptual weights: `LatentryError` where there are none.
    """
    sums = kind == "kl" if options.reduction is None else options.reduction == "sum"
    distance = perceptual.build(options.perceptual, image_channels, background)
    return AdversarialObjective(options, image_channels, sums, distance)
