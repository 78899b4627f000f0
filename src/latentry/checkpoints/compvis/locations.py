"""Where each tensor of a published state dict belongs in a model folder: one table, read in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch

from latentry.checkpoints.compvis.first_stage_names import to_published
from latentry.checkpoints.compvis.names import CLASS_NAMES, TEXT_UNUSED, ema_name, text_names, unet_names
from latentry.devices import without_weights
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.models.config import ModelConfig
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.nn.text.encoder import TextTransformer

UNET, CONDITION, FIRST_STAGE = "model.diffusion_model.", "cond_stage_model.", "first_stage_model."
SCALES = ("latent_scale", "latent_shift")
SCHEDULE = (
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
    "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
)  # fmt: skip
EMA_COUNTERS = ("model_ema.decay", "model_ema.num_updates")
OPTIONAL = ("scale_factor", "logvar")
CLIP_POSITIONS = "transformer.text_model.embeddings.position_ids"
SEMANTIC = {"project.weight": "channel_mapper.weight"}


class Location(NamedTuple):
    """group, name: of the tensor in a `ModelFolder`; shape: what both have."""

    group: str
    name: str
    shape: tuple[int, ...]


class Locations(NamedTuple):
    """kept: published key -> location. averaged: the same for the moving averages.

    unused: keys that carry nothing here. doubled: published key -> the key that it repeats.
    """

    kept: dict[str, Location]
    averaged: dict[str, Location]
    unused: dict[str, tuple[int, ...]]
    doubled: dict[str, str]


def locations(config: ModelConfig, texts: Mapping[str, str]) -> Locations:
    """All of a model's, from its config and texts: networks are built without memory for their weights."""
    with without_weights():
        autoencoder = Autoencoder(config.autoencoder, config.data.channels)
        denoiser = None if config.diffusion is None else build_denoiser(config, texts)
    prefix = "" if denoiser is None else FIRST_STAGE
    kept = {
        f"{prefix}{to_published(n)}": Location("autoencoder", n, s) for n, s in _shapes(autoencoder) if n not in SCALES
    }
    table = Locations(kept, {}, {}, {})
    if denoiser is not None:
        _unet(denoiser, table)
        _conditioners(denoiser, table)
        steps = denoiser.schedule.steps
        table.unused.update(dict.fromkeys(SCHEDULE, (steps,)))
    return table


def _shapes(module: torch.nn.Module) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, value in module.state_dict().items():
        yield name, tuple(value.shape)


def _unet(denoiser: LatentDiffusion, table: Locations) -> None:
    names = unet_names(**unet_arguments(denoiser))
    for name, shape in _shapes(denoiser.unet):
        table.kept[UNET + names[name]] = Location("unet_raw", name, shape)
        table.averaged[ema_name(names[name])] = Location("unet", name, shape)


def unet_arguments(denoiser: LatentDiffusion) -> dict[str, Any]:
    """What of a UNet decides the names of its parameters."""
    unet = denoiser.unet
    return denoiser.options.unet.model_dump() | {
        "context_channels": unet.context_channels,
        "vector_channels": unet.vector_channels,
    }


def _conditioners(denoiser: LatentDiffusion, table: Locations) -> None:
    for name, conditioner in denoiser.conditioners.items():
        kind = str(getattr(conditioner.options, "kind", ""))
        names = _names(kind, conditioner)
        for ours, shape in _shapes(conditioner):
            table.kept[CONDITION + names[ours]] = Location("conditioning", f"conditioners.{name}.{ours}", shape)
        if kind == "clip_text":
            table.unused[CONDITION + CLIP_POSITIONS] = (1, int(getattr(conditioner.options, "length", 0)))
        if kind == "masked":
            first = [key for key in table.kept if key.startswith(FIRST_STAGE)]
            table.doubled.update({CONDITION + key.removeprefix(FIRST_STAGE): key for key in first})
        transformer = getattr(conditioner, "transformer", None)
        if isinstance(transformer, TextTransformer):
            vocabulary, width = transformer.token.weight.shape
            weight, bias = TEXT_UNUSED
            table.unused.update({CONDITION + weight: (vocabulary, width), CONDITION + bias: (vocabulary,)})


def _names(kind: str, conditioner: torch.nn.Module) -> dict[str, str]:
    """Our names inside one conditioner and the published ones behind `cond_stage_model.`."""
    if kind == "class_label":
        return CLASS_NAMES
    if kind == "semantic":
        return SEMANTIC
    transformer = getattr(conditioner, "transformer", None)
    if isinstance(transformer, TextTransformer):
        return {f"transformer.{ours}": theirs for ours, theirs in text_names(len(transformer.layers)).items()}
    return {name: name for name in conditioner.state_dict()}
