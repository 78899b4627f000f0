"""What a recipe says of measuring while it trains."""

from __future__ import annotations

from pydantic import Field

from latentry.bounds import MOST_IMAGES, Steps
from latentry.evaluation.options import WhatToMeasure


class TrainingEvaluation(WhatToMeasure):
    """Distances of samples of the averaged weights, into the log and TensorBoard. every: so many steps. samples: drawn
    each time. metrics, features: as of `latentry evaluate`."""

    every: Steps = 5000
    samples: int = Field(1000, ge=2, le=MOST_IMAGES)
