"""What a model's config alone says of it."""

from __future__ import annotations

from typing import Any

from latentry.models.config import ModelConfig


def facts(config: ModelConfig) -> dict[str, Any]:
    """Plain values for people and programs."""
    first, second = config.autoencoder, config.diffusion
    plain: dict[str, Any] = {
        "name": config.name,
        "version": config.version,
        "can": ["encode", "decode", "reconstruct"] + (["sample"] if second is not None else []),
        "conditions": {name: o.kind for name, o in second.conditioning.items()} if second is not None else {},
        "labels": list(config.data.labels),
        "size": list(config.data.size),
        "channels": config.data.channels,
        "depth": config.data.depth,
        "first_stage": first.kind,
        "factor": first.factor,
        "latent_channels": first.latent_channels or first.z_channels,
    }
    if second is not None:
        plain |= {"prediction": second.prediction, "schedule": second.schedule.kind}
        plain["sample"] = config.sample.model_dump()
    return {**plain, "trained": dict(config.trained)}
