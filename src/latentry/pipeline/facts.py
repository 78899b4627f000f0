"""What a model's config alone says of it."""

from __future__ import annotations

from typing import Any

from latentry.models.config import DataFacts, ModelConfig


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
        **_values(config.data),
        "first_stage": first.kind,
        "factor": first.factor,
        "latent_channels": first.latent_channels or first.z_channels,
    }
    if second is not None:
        plain |= {"prediction": second.prediction, "schedule": second.schedule.kind}
        plain["sample"] = config.sample.model_dump(exclude_none=True)
    if config.distilled is not None:
        plain["distilled"] = config.distilled.model_dump()
    if config.classifier is not None:
        plain["classifier"] = {"field": config.classifier.field, "classes": list(config.classifier.names)}
    return {**plain, "trained": dict(config.trained)}


def _values(data: DataFacts) -> dict[str, Any]:
    """What is said of the values of its images only where there is more to say than their depth."""
    plain: dict[str, Any] = {} if data.range is None else {"range": data.range, "dtype": data.dtype}
    return plain if data.transparent is None else {**plain, "transparent": data.transparent}
