"""The model folder of a run, written as far as the stages are done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from latentry.checkpoints import model_folder
from latentry.checkpoints.model_folder import ModelFolder
from latentry.checkpoints.run_folder import MODEL
from latentry.evaluation.card import model_card
from latentry.training.plan.about import about
from latentry.training.plan.plan import Plan
from latentry.training.recipe.distill import DistillSection


def write_model(plan: Plan, tensors: Mapping[str, Mapping[str, Tensor]], trained: Mapping[str, Any]) -> None:
    """Write RUN/model anew; only the chief does. It says nothing of stages whose tensors are not there.

    trained: what `model.yaml` says of the training, such as the steps of each stage.
    """
    if not plan.world.chief:
        return
    complete = "unet" in tensors
    absent = [name for name, group in (("diffusion", "unet"), ("classifier", "classifier")) if group not in tensors]
    config = plan.model.model_copy(update={"trained": dict(trained), **dict.fromkeys(absent)})
    texts = plan.texts if complete else {}
    model_folder.write(plan.out / MODEL, ModelFolder(config, tensors, texts, model_card(config, about(plan))))


def add_to_model(plan: Plan, tensors: Mapping[str, Mapping[str, Tensor]], trained: Mapping[str, Any]) -> None:
    """As `write_model`, but what RUN/model holds of other stages stays."""
    if plan.world.chief:
        there = model_folder.read(plan.out / MODEL, without=tuple(tensors))
        if there.config.distilled is not None and "unet" not in tensors:
            kept = {"distilled": there.config.distilled, "sample": there.config.sample}
            plan = replace(plan, model=plan.model.model_copy(update=kept))
        write_model(plan, {**there.tensors, **tensors}, {**there.config.trained, **trained})


def update_sampling(plan: Plan) -> None:
    """What the recipe says of sampling, which may change in a finished run, into RUN/model."""
    folder = plan.out / MODEL
    there, sample = model_folder.read(folder, weights=False).config, plan.model.sample
    section = plan.recipe.section("distill")
    if there.distilled is not None and isinstance(section, DistillSection):
        sample = section.sample
    if there.sample == sample:
        return
    model = model_folder.read(folder)
    config = model.config.model_copy(update={"sample": sample})
    pictures = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    model_folder.write(folder, replace(model, config=config, pictures=pictures))
