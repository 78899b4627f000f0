"""A classifier of noisy latents that another run or model lends: opened, and checked against what it guides."""

from __future__ import annotations

import copy
from typing import Any

import torch

from latentry.diffusion.schedule import build_schedule
from latentry.errors import UsageError
from latentry.models.classifier import LatentClassifier
from latentry.models.model import Model
from latentry.pipeline.guides.autoguide import opened, other_latents
from latentry.pipeline.record import DrawnBy


def lent(given: Any, main: Model) -> tuple[LatentClassifier, DrawnBy]:
    """The classifier of `PATH`, of a record, or of (model, what files say of it), on the device of the model.

    Raises UsageError for a model without one, and for one of other latents or another noise schedule.
    """
    other, drawn_by = given if isinstance(given, tuple) else opened(given, "classifier")
    where = f"classifier: {drawn_by.source}"
    if other.classifier is None:
        raise UsageError(
            f"{where}: has no classifier; accepted: a run or model that has. Train one there: classifier={{}}"
        )
    if tensor := other_latents(other, main):
        raise UsageError(
            f"{where}: has another first stage ({tensor}), so that its latents mean something else; accepted: a "
            "classifier trained on this model's. Train one with `autoencoder: {from: MODEL}`."
        )
    theirs, ours = (None if one.config.diffusion is None else one.config.diffusion.schedule for one in (other, main))
    known = theirs is not None and ours is not None  # a classifier beside a first stage alone says nothing of it
    if known and not torch.equal(*(build_schedule(one).abar for one in (theirs, ours) if one is not None)):
        raise UsageError(f"{where}: has another noise schedule; accepted: a classifier of the same. Name such a one.")
    there = other.classifier.out.weight.device == main.device
    classifier = other.classifier if there else copy.deepcopy(other.classifier).to(main.device)
    return classifier.eval().requires_grad_(False), drawn_by
