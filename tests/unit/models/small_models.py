"""Second stages small enough for a test, with weights that make every condition matter."""

from __future__ import annotations

from typing import Any

import torch

from latentry.conditioning import BuildContext
from latentry.models.build import build_conditioners
from latentry.models.classifier import ClassifierOptions, LatentClassifier
from latentry.models.config import DiffusionOptions
from latentry.models.latent_diffusion import LatentDiffusion

LABELS = ("circle", "square", "star")
CAPTIONS = ("a red circle", "a blue square", "a green star on grey")
LABEL = {"kind": "class_label", "via": "vector", "width": 8}
TOKEN = {"kind": "class_label", "via": "context", "width": 12}
TEXT = {"kind": "text", "width": 16, "layers": 1, "heads": 2, "head_channels": 8, "length": 8, "vocabulary": 256}
CONDITIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "vector": {"label": LABEL},
    "text": {"text": TEXT},
    "both": {"text": TEXT, "label": LABEL},
    "two contexts": {"text": TEXT, "label": TOKEN},
}
OF_IMAGES: dict[str, dict[str, Any]] = {
    "grey": {"grey": {"kind": "grey", "factor": 2}},
    "low": {"low": {"kind": "image", "factor": 2}},
    "masked": {"hole": {"kind": "masked", "latent_channels": 4}},
    "files": {
        "semantic": {"kind": "semantic", "classes": 4, "channels": 2, "stages": 1},
        "embedding": {"kind": "embedding", "width": 3, "via": "vector", "hidden": 4},
        "layout": {"kind": "layout", "width": 8, "layers": 1, "heads": 2, "head_channels": 4, "objects": 2}
        | {"vocabulary": 101, "names": ["ring", "star"]},
    },
}
"""Conditions of tasks that begin with an image, and those that are given as files."""
VALUES: dict[str, list[Any]] = {"text": ["a red circle", "a green star"], "label": ["circle", "star"]}


def denoiser(conditions: str = "both", encode: Any = None, **options: Any) -> LatentDiffusion:
    """Four latent channels; the zero layers of a fresh UNet are filled."""
    torch.manual_seed(0)
    unet = {"channels": 16, "multipliers": [1, 2], "blocks": 1, "attention": [2], "heads": 2, "norm_groups": 4}
    chosen = {"unet": unet, "conditioning": {**CONDITIONS, **OF_IMAGES}[conditions], **options}
    made = DiffusionOptions.model_validate(chosen)
    context = BuildContext(labels=LABELS, captions=CAPTIONS, encode=encode, factor=2, report=lambda _: None)
    conditioners = build_conditioners(made, dict.fromkeys(made.conditioning, context))
    model = LatentDiffusion(made, 4, conditioners).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def small_classifier() -> LatentClassifier:
    """Of four latent channels; its zero layers are filled."""
    torch.manual_seed(1)
    shape = {"channels": 8, "multipliers": [1, 2], "blocks": 1, "head_channels": 4, "norm_groups": 4}
    made = LatentClassifier(ClassifierOptions.model_validate({**shape, "names": LABELS}), 4).eval()
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return made


def values_for(conditions: str) -> dict[str, list[Any]]:
    """Values for a batch of two, of what the model takes."""
    return {name: VALUES[name] for name in CONDITIONS[conditions]}
