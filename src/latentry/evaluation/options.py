"""What can be chosen of an evaluation: options of the command, keywords of the call, and a part of recipes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from latentry.bounds import MOST_IMAGES, Batch, Guidance, Name, Seed, Side
from latentry.evaluation.measure.names import chosen
from latentry.evaluation.measure.networks import asked
from latentry.kinds import Options
from latentry.metrics.distances.interval import DRAWS
from latentry.metrics.features.resizing import RESIZINGS
from latentry.tasks.size import parse_size

SAMPLES = 1000
Names = Annotated[tuple[Name, ...], Field(max_length=100)]


def _size(value: object) -> object:
    """`96x64` as two numbers. Raises ValueError."""
    return parse_size(value) if isinstance(value, str) else (value, value) if isinstance(value, int) else value


class WhatToMeasure(Options):
    """metrics: names of `ASKED`; null: all that can be measured. features: `own`, those of the model's first stage, and
    names of `FEATURES`; null: own, and those whose weights are on this machine. The first is the one that a best
    checkpoint is chosen in."""

    metrics: Names | None = None
    features: Names | None = None

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if names is None else chosen(names)

    @field_validator("features")
    @classmethod
    def _known_features(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if names is None else tuple(asked(names, has_model=True))


class EvaluationOptions(WhatToMeasure):
    """samples: how many to draw, 1,000 by default, or of how many images of a folder, all by default.

    against: the images that distances are measured to: those trained on, those held out, or all of the folder.
    reference: at most so many of them, evenly spread; null is all. size: (H, W) that folders of images are brought to;
    null: as they are. crop: how. resize: a key of RESIZINGS, how images reach Inception; null as published.
    steps, guidance: of the samples; null is the model's. batch: samples at once. draws: of subsets for intervals.
    """

    samples: int | None = Field(None, ge=1, le=MOST_IMAGES)
    against: Literal["train", "held_out", "all"] = "train"
    reference: int | None = Field(None, ge=2, le=1_000_000_000)
    size: Annotated[tuple[Side, Side] | None, BeforeValidator(_size)] = None
    crop: Literal["center", "pad"] = "center"
    resize: Literal[tuple(RESIZINGS)] | None = None  # type: ignore[valid-type]
    steps: int | None = Field(None, ge=1, le=1_000_000)
    guidance: Guidance | None = None
    batch: Batch = 16
    draws: int = Field(DRAWS, ge=0, le=10_000)
    seed: Seed = 0

    @property
    def sampling(self) -> dict[str, float]:
        """What of the sampling is not the model's own."""
        return {name: value for name in ("steps", "guidance") if (value := getattr(self, name)) is not None}
