"""Networks that make a vector of each image. FEATURES names those that have weights of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from latentry.metrics.features.classifier import SqueezeNetFeatures, VGG16Features
from latentry.metrics.features.encoder import EncoderFeatures
from latentry.metrics.features.inception import InceptionFeatures
from latentry.metrics.features.source import Features, tag
from latentry.metrics.features.transformer import TransformerFeatures
from latentry.metrics.features.vote import vote

Path = str | os.PathLike[str]
FEATURES: dict[str, Callable[[Path | None], Features]] = {
    "inception": InceptionFeatures,
    "squeezenet": SqueezeNetFeatures,
    "vgg16": VGG16Features,
    "dinov2": partial(TransformerFeatures, "dinov2"),
    "clip": partial(TransformerFeatures, "clip"),
}
"""By name: from the path of the weights, or None, to the features."""

__all__ = ["FEATURES", "EncoderFeatures", "Features", "InceptionFeatures", "SqueezeNetFeatures", "tag", "vote"]
