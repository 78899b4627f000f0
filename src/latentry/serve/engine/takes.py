"""What a model can be asked for, as a form needs to know it: by condition its kind, names, numbers."""

from __future__ import annotations

from typing import Any

from latentry.conditioning.class_label import ClassLabel
from latentry.conditioning.image import Image
from latentry.conditioning.layout import Layout
from latentry.conditioning.semantic import Semantic
from latentry.pipeline import Pipeline


def takes(pipe: Pipeline, labels: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """By condition. labels: the classes by which the model, or its classifier, is led."""
    named = {} if pipe.denoiser is None else pipe.denoiser.named_conditioners()
    found = {name: {"kind": one.options.kind, **_further(one, labels)} for name, one in named.items()}
    if pipe.classifier is not None and "label" not in found:
        found["label"] = {"kind": "class_label", "names": list(labels)}
    return found


def _further(conditioner: Any, labels: tuple[str, ...]) -> dict[str, Any]:
    """names: of classes; none where they are numbers. boxes: at most so many. factor: by which images are enlarged."""
    if isinstance(conditioner, ClassLabel):
        return {"names": list(map(str, conditioner.options.names or labels)), "classes": conditioner.options.classes}
    if isinstance(conditioner, Layout):
        return {"names": list(conditioner.names), "boxes": conditioner.options.room}
    if isinstance(conditioner, Semantic):
        return {"classes": conditioner.classes, "unlabelled": conditioner.options.unlabelled}
    if isinstance(conditioner, Image):
        return {"factor": conditioner.options.factor}
    return {}
