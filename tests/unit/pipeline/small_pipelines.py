"""Pipelines small enough for a test, of networks with random weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from latentry import __version__
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions, DataFacts, ModelConfig
from latentry.pipeline import Pipeline
from tests.unit.models.small_models import LABELS, denoiser, small_classifier

SHAPE = {"channels": 8, "multipliers": [1, 2], "blocks": 1, "norm_groups": 4}


def pipeline(
    kind: str = "kl",
    conditions: str = "both",
    depth: int = 8,
    classifier: bool = False,
    background: str | None = None,
    **diffusion: Any,
) -> Pipeline:
    """Images of 16x16 in colour; sides are multiples of 4. conditions: of `small_models`, or none: a first stage.

    classifier: with one, of the same classes. background: what transparency is laid over. diffusion: further
    options of the second stage.
    """
    torch.manual_seed(0)
    autoencoder = Autoencoder(
        AutoencoderOptions.model_validate({"kind": kind, "codes": 32, **SHAPE, "z_channels": 4}), 3
    )
    autoencoder.latent_scale.fill_(0.7)
    encode = partial(_unscaled, autoencoder)
    model = denoiser(conditions, encode, **diffusion) if conditions else None
    config = ModelConfig.model_validate(
        {
            "name": "small",
            "version": __version__,
            "data": DataFacts(size=(16, 16), channels=3, depth=depth, background=background, labels=LABELS),
            "autoencoder": autoencoder.options,
            "diffusion": model.options if model else None,
            "sample": {"steps": 4, "guidance": 2.0},
        }
    )
    guide = small_classifier() if classifier else None
    return Pipeline(config, autoencoder, model, classifier=guide, model_hash="abc123", source="small")


def _unscaled(autoencoder: Autoencoder, images: Tensor) -> Tensor:
    """As conditions take latents: the posterior's mean."""
    return autoencoder.unscaled(autoencoder.moments(images.to(autoencoder.latent_scale.device)))
