"""Whole models of ours, small enough for a test and random in every weight, and their folders for diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentry import config as plain
from latentry.checkpoints.diffusers import read, write
from latentry.checkpoints.model_folder import ModelFolder
from latentry.conditioning.words.tokenizer import train
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.models.config import ModelConfig
from latentry.pipeline import Pipeline
from latentry.pipeline.load import assemble
from tests.unit.nn.networks import filled

CAPTIONS = ["a red circle on white", "a green star", "two blue squares, one yellow"]
FIRST_STAGE: dict[str, Any] = {
    "kind": "vq", "z_channels": 3, "codes": 16, "channels": 8, "multipliers": (1, 2), "blocks": 1, "norm_groups": 4,
}  # fmt: skip
UNET: dict[str, Any] = {
    "channels": 8, "multipliers": (1, 2), "blocks": 1, "attention": (2,), "head_channels": 4, "norm_groups": 4,
    "transformer_depth": 0,
}  # fmt: skip
CROSS: dict[str, Any] = {**UNET, "transformer_depth": 1}
TEXT: dict[str, Any] = {"kind": "text", "width": 12, "layers": 2, "heads": 2, "head_channels": 8, "vocabulary": 200}
SAMPLE: dict[str, Any] = {"solver": "ddim", "levels": "published", "steps": 5}


def config(first_stage: Mapping[str, Any], diffusion: Mapping[str, Any] | None = None, **more: Any) -> ModelConfig:
    """A whole config; `more` replaces keys of the top level."""
    given = {
        "name": "small",
        "version": "0.0.1",
        "data": {"size": (16, 16), "channels": 3, "labels": ("circle", "star")},
        "autoencoder": first_stage,
        "sample": SAMPLE,
        "trained": {"steps": 7},
        **({} if diffusion is None else {"diffusion": diffusion}),
        **more,
    }
    return plain.validate(ModelConfig, given, "test")


def model(chosen: ModelConfig, scale: float = 1.0, texts: Mapping[str, str] | None = None) -> ModelFolder:
    """The config with random weights: no layer is left at zero."""
    first = filled(Autoencoder(chosen.autoencoder, chosen.data.channels), seed=1)
    first.latent_scale.fill_(scale)
    if first.quantiser is not None:
        spread(first.quantiser)
    groups: dict[str, Mapping[str, Tensor]] = {"autoencoder": first.state_dict()}
    texts = dict(texts or {})
    if chosen.diffusion is not None:
        if "text" in chosen.diffusion.conditioning and not texts:
            texts = {"tokenizer.json": train(CAPTIONS, 200).to_str(pretty=True)}
        denoiser = filled(build_denoiser(chosen, texts), seed=2)
        groups["unet"] = denoiser.unet.state_dict()
        rest = {k: v for k, v in denoiser.state_dict().items() if not k.startswith("unet.")}
        if rest:
            groups["conditioning"] = rest
    return ModelFolder(chosen, groups, texts, card="# small\n")


def spread(quantiser: nn.Module) -> None:
    """Codes as far apart as latents are, so that the nearest one is no matter of rounding."""
    with torch.no_grad():
        for parameter in quantiser.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))


def exported(given: ModelFolder, path: Path) -> tuple[Path, Pipeline]:
    """The folder written for diffusers, and our pipeline of the same model."""
    write(given, path / "exported")
    return path / "exported", assemble(given, "test")


def assert_same_model(given: ModelFolder, path: Path) -> None:
    """Reading what was written gives every tensor, text and option back, to the bit."""
    again = read(path)
    assert again.config == given.config
    assert again.tensors.keys() == given.tensors.keys()
    for group, tensors in given.tensors.items():
        assert again.tensors[group].keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(again.tensors[group][name], tensor), name
    assert dict(again.texts) == dict(given.texts)
    assert again.card == given.card


def randomised(network: Any) -> Any:
    """A network of diffusers with nothing left at zero or one."""
    filled(network, seed=4)
    if hasattr(network, "quantize"):
        spread(network.quantize)
    return network
