"""The plan of a run: everything that it will do, decided once. Nothing after it checks, settles or reads again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from latentry.data.dataset import ImageData
from latentry.models.config import ModelConfig
from latentry.training.loop.log import Report
from latentry.training.loop.world import World
from latentry.training.plan.images import Images
from latentry.training.plan.sources import Sources
from latentry.training.recipe.recipe import Recipe

StageName = str
"""A key of `STAGES`."""


@dataclass(frozen=True)
class Plan:
    """One call of `train`, decided.

    recipe: the whole experiment, nothing left on `auto`. model: what `model.yaml` will say; texts: the further files of
    the model. data, held_out: the images that are trained on, and those that are looked at (None where none can be
    read); images: their listing. sources: models taken over or begun with. world: processes and device.
    selected: the stages that this call is about; stages: those of them that are not finished, in order.
    changes: what of the recipe differs from an earlier call on this run. timings: why `precision: auto` chose what it
    did, in words by stage.
    """

    recipe: Recipe
    model: ModelConfig
    texts: Mapping[str, str]
    data: ImageData
    held_out: ImageData | None
    images: Images
    sources: Sources
    out: Path
    world: World
    report: Report
    selected: tuple[StageName, ...]
    stages: tuple[StageName, ...]
    changes: tuple[str, ...] = ()
    timings: Mapping[str, str] = field(default_factory=dict)
