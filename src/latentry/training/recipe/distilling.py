"""The recipe that distills a model: both stages as they are, the images as it was trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentry.checkpoints.model_folder import ModelFolder
from latentry.errors import UsageError
from latentry.training.recipe.further import further

OF_IMAGES = ("images", "data", "data_from", "licence", "judge")
"""What the recipe that the model was trained by says of its images, and how samples are judged."""
AS_BEFORE = ("precision", "channels_last")
"""What of the training of the second stage suits the machine and the network."""


def distilling(model: ModelFolder, source: str, trained_by: Mapping[str, Any]) -> dict[str, Any]:
    """As plain data. source: where the model is. trained_by: its run's recipe, or another of the same images; empty
    where there is none: then the folder is read as the model does.

    Raises UsageError for a model that cannot be trained further.
    """
    name, config = model.config.name, model.config
    if config.diffusion is None:
        raise UsageError(f"{source}: holds a first stage alone; there is nothing to distill. Name a model with both.")
    tree = further(model, source)
    second = dict(tree["diffusion"])
    train = {"drop_condition": second.pop("train")["drop_condition"]}
    earlier = (trained_by.get("diffusion") or {}).get("train") or {}
    train |= {key: earlier[key] for key in AS_BEFORE if key in earlier}
    said = {key: trained_by[key] for key in OF_IMAGES if trained_by.get(key) is not None}
    return {
        **tree,
        **said,
        "name": f"{name}-distilled",
        "about": f"{name}, distilled to sample in one or a few steps.",
        "diffusion": {**second, "tune": False},
        "distill": {"guidance": config.sample.guidance, "train": train},
    }
