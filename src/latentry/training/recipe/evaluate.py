"""What a recipe says of measuring while it trains."""

from __future__ import annotations

from pydantic import Field, model_validator

from latentry.bounds import MOST_IMAGES, Name, Steps
from latentry.errors import did_you_mean
from latentry.evaluation.measure.names import OF_SETS
from latentry.evaluation.options import WhatToMeasure

BEST = (*OF_SETS, "is")
"""Metrics that are measured while it trains."""


class TrainingEvaluation(WhatToMeasure):
    """Distances of samples of the averaged weights, into the log and TensorBoard. every: so many steps. samples: drawn
    each time. metrics, features: as of `latentry evaluate`. keep_best: the metric, in the first of the features, whose
    best checkpoint is kept beside milestones and called `--step best`; null keeps none."""

    every: Steps = 5000
    samples: int = Field(1000, ge=2, le=MOST_IMAGES)
    keep_best: Name | None = None

    @model_validator(mode="after")
    def _measured(self) -> TrainingEvaluation:
        known = BEST if self.metrics is None else [name for name in BEST if name in self.metrics]
        if self.keep_best is not None and self.keep_best not in known:
            near = did_you_mean(self.keep_best, known)
            raise ValueError(f'keep_best: no "{self.keep_best}" is measured; known: {", ".join(known) or "none"}{near}')
        return self
