"""Classifier guidance: how often an unconditional model draws the class that its classifier guides it to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from latentry.data.shapes import SHAPES
from latentry.metrics.scenes import largest, look
from latentry.pipeline import Pipeline
from task_figures.autoguide import earliest
from task_figures.common import Asked, Figure, Measured, pictures, rows

SCALES = (0.0, 3.0, 10.0, 40.0, 100.0)
AWAY = 2.5
"""Autoguidance beside it: a classifier takes a torn star for a star, which the model then need not mend."""
EACH = 10
"""Real images a request, for the judge itself."""


def classifier(pipe: Pipeline, asked: Asked, _: Pipeline | None) -> Measured:
    """Each shape in turn, by the same seeds at each scale (a row of the sheet), at the last with autoguidance too."""
    scenes = asked.scenes(count=EACH * asked.count, shapes=1)
    labels = [list(SHAPES)[index % len(SHAPES)] for index in range(asked.count)]
    made = [pipe.sample(label=labels, classifier_scale=scale, **asked.how).tensor for scale in SCALES]
    rates = [hit_rate(images, labels) for images in made]
    led = {**asked.how, "guidance": AWAY, "autoguide": asked.worse or earliest(pipe)}
    made.append(pipe.sample(label=labels, classifier_scale=SCALES[-1], **led).tensor)
    return [
        Figure("judge right on real images", hit_rate(pictures(scenes), [scene.label for scene in scenes]), 0.99),
        *(Figure(f"hit rate at scale {scale:g}", rate, None) for scale, rate in zip(SCALES, rates, strict=True)),
        Figure("least rise of it from scale to scale", min(b - a for a, b in pairwise(rates)), 0.0),
        Figure("best hit rate", max(rates), 0.9),
        Figure(f"at scale {SCALES[-1]:g} with autoguidance by {AWAY:g}", hit_rate(made[-1], labels), None),
    ], rows(*made)


def hit_rate(images: Tensor, labels: Sequence[str]) -> float:
    """The share of images (B, 3, H, W) whose (largest) shape the judge takes for that of the label."""
    found = [largest(seen) for seen in look(images)]
    return float(np.mean([one is not None and one.shape == label for one, label in zip(found, labels, strict=True)]))
