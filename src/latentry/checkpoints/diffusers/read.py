"""Folders of diffusers as models of ours: pipelines, and first stages alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry import __version__
from latentry import config as plain
from latentry.checkpoints.diffusers import autoencoder, scheduler, text, unet, unet_names
from latentry.checkpoints.diffusers.files import (
    CONFIG,
    ENCODER,
    INDEX,
    NETWORK,
    SCHEDULER,
    check,
    read_json,
    read_weights,
)
from latentry.checkpoints.diffusers.pipelines import PIPELINES, SCHEDULER_FOLDER, Facts, Shape, configs, pixel_size
from latentry.checkpoints.diffusers.settings import refused
from latentry.checkpoints.diffusers.write import SIDE
from latentry.checkpoints.model_folder import CARD, ModelFolder
from latentry.conditioning.text import FILE, TextOptions
from latentry.errors import UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions, ModelConfig
from latentry.nn.text_encoder import TextTransformer
from latentry.nn.unet import UNet

CONDITION = "text"
GUIDANCE = {"StableDiffusionPipeline": 7.5}
"""What a pipeline's call takes when not told; 1 in the others."""
STEPS = {"LDMSuperResolutionPipeline": 100}
"""The same for the number of steps; 50 in the others."""


def read(path: Path) -> ModelFolder:
    """Read a pipeline folder, or the folder of an AutoencoderKL or VQModel, which gives a first stage alone.

    A safety checker and a feature extractor are left out: they are no part of the model. A UNet alone is refused, as it
    does not say how its latents are made. Raises UsageError naming what would not be the same model here.
    """
    if (path / INDEX).is_file():
        return _read_pipeline(path)
    found = read_json(path / CONFIG)
    name = found.get("_class_name")
    if name in unet.CLASSES:
        raise UsageError(
            f"{path}: a {name} alone; accepted are pipelines and first stages ({', '.join(autoencoder.CLASSES)}). "
            "Give the folder of the whole pipeline: its model_index.json, first stage and scheduler."
        )
    if name not in autoencoder.CLASSES:
        raise refused(str(path / CONFIG), f"{name}", f"known: {', '.join((*autoencoder.CLASSES, *PIPELINES))}")
    options, s = autoencoder.from_config(found, str(path / CONFIG))
    side = s["sample_size"]
    derived = {
        "autoencoder": options,
        "data": {"size": (side, side) if isinstance(side, int) else side, "channels": s["in_channels"]},
    }
    config = _config(path, derived, {"": found}, Facts(s["scaling_factor"]))
    tensors = _first_stage(path, config, s["scaling_factor"])
    return ModelFolder(config, {"autoencoder": tensors}, card=_card(path))


def _read_pipeline(path: Path) -> ModelFolder:
    name = read_json(path / INDEX).get("_class_name")
    if name not in PIPELINES:
        raise refused(str(path / INDEX), f"{name}", f"known: {', '.join(PIPELINES)}")
    shape = PIPELINES[name]
    assert shape.first_stage is not None
    found = {folder: read_json(path / folder / CONFIG) for folder in (shape.first_stage, "unet")}
    found[SCHEDULER_FOLDER] = read_json(path / SCHEDULER_FOLDER / SCHEDULER)
    if shape.encoder_folder:
        found[shape.encoder_folder] = read_json(path / shape.encoder_folder / CONFIG)
    derived, facts = _derive(path, name, shape, found)
    config = _config(path, derived, found, facts)
    assert config.diffusion is not None
    groups = {"autoencoder": _first_stage(path / shape.first_stage, config, facts.scale)}
    groups["unet"] = _unet(path / "unet", config)
    texts = {}
    if shape.encoder_folder:
        groups["conditioning"] = _encoder(path / shape.encoder_folder, config)
        texts[FILE] = text.read_bert_tokenizer(path / "tokenizer")
    return ModelFolder(config, groups, texts, card=_card(path))


def _derive(path: Path, name: str, shape: Shape, found: Mapping[str, Any]) -> tuple[dict[str, Any], Facts]:
    """Our options as a plain mapping, from the files of diffusers alone."""
    folder = shape.first_stage or ""
    _expect(path / folder, found[folder], tuple(autoencoder.CLASSES))
    _expect(path / "unet", found["unet"], (shape.network,))
    first, s = autoencoder.from_config(found[folder], str(path / folder / CONFIG))
    network, u = unet.from_config(found["unet"], str(path / "unet" / CONFIG))
    process, sample = scheduler.from_config(found[SCHEDULER_FOLDER], str(path / SCHEDULER_FOLDER / SCHEDULER))
    latent = first.latent_channels or first.z_channels
    concat = latent if name == "LDMSuperResolutionPipeline" else 0
    if (u["in_channels"], u["out_channels"]) != (latent + concat, latent):
        what = f"in_channels {u['in_channels']}, out_channels {u['out_channels']}"
        raise refused(str(path / "unet" / CONFIG), what, f"{name} has {latent + concat} and {latent}")
    told: dict[str, Any] = {"image": {"kind": "image", "channels": concat}} if concat else {}
    rows = 0
    if shape.encoder_folder:
        where = str(path / shape.encoder_folder / CONFIG)
        told[CONDITION], rows = text.bert_options(found[shape.encoder_folder], where)
    size = pixel_size(u["sample_size"] or s["sample_size"], first.factor, name)
    scale = 1.0 if name == "LDMSuperResolutionPipeline" else s["scaling_factor"]  # which it does not read
    derived = {
        "data": {"size": size, "channels": s["in_channels"]},
        "autoencoder": first,
        "diffusion": {**process, "unet": network, "conditioning": told},
        "sample": {**sample, "steps": STEPS.get(name, 50), "guidance": GUIDANCE.get(name, 1.0)},
    }
    return derived, Facts(scale, rows)


def _config(path: Path, derived: Mapping[str, Any], found: Mapping[str, Any], facts: Facts) -> ModelConfig:
    """Our own file's options where diffusers' files are those that it would be written as, else the derived ones."""
    if (path / SIDE).is_file():
        own = plain.validate(ModelConfig, plain.load_yaml(path / SIDE), str(path / SIDE))
        if _as_written(own, found, facts):
            return own
    name = path.resolve().name
    return plain.validate(ModelConfig, {"name": name, "version": __version__, **derived}, str(path))


def _as_written(own: ModelConfig, found: Mapping[str, Any], facts: Facts) -> bool:
    try:
        made = configs(own, facts)
    except UsageError:
        return False
    same = made.keys() == found.keys()
    return same and all(_plain(found[name].get(k)) == _plain(v) for name in made for k, v in made[name].items())


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _expect(folder: Path, found: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if found.get("_class_name") not in known:
        raise refused(str(folder / CONFIG), f"{found.get('_class_name')}", f"known here: {', '.join(known)}")


def _first_stage(folder: Path, config: ModelConfig, scale: float) -> dict[str, Tensor]:
    options: AutoencoderOptions = config.autoencoder
    tensors = autoencoder.to_ours(read_weights(folder, NETWORK), len(options.multipliers))
    tensors |= autoencoder.buffers(scale, options.latent_channels or options.z_channels)
    with torch.device("meta"):
        check(Autoencoder(options, config.data.channels), tensors, str(folder))
    return tensors


def _unet(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    assert config.diffusion is not None
    options, told = config.diffusion.unet, config.diffusion.conditioning
    tensors = unet_names.to_ours(read_weights(folder, NETWORK), options)
    latent = config.autoencoder.latent_channels or config.autoencoder.z_channels
    context = next((o.width for o in told.values() if o.kind != "image"), None)
    with torch.device("meta"):
        network = UNet(
            in_channels=latent,
            out_channels=latent,
            concat_channels=latent if context is None and told else 0,
            context_channels=context,
            **options.model_dump(exclude={"context_channels"}),
        )
        check(network, tensors, str(folder))
    return tensors


def _encoder(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    assert config.diffusion is not None
    ((name, options),) = config.diffusion.conditioning.items()
    assert isinstance(options, TextOptions)
    tensors = text.bert_to_ours(read_weights(folder, ENCODER))
    with torch.device("meta"):
        network = TextTransformer(
            vocabulary=len(tensors["token.weight"]),
            length=options.length,
            width=options.width,
            layers=options.layers,
            heads=options.heads,
            head_channels=options.head_channels,
        )
        check(network, tensors, str(folder))
    return {f"conditioners.{name}.transformer.{k}": t for k, t in tensors.items()}


def _card(path: Path) -> str:
    return (path / CARD).read_text(encoding="utf-8") if (path / CARD).is_file() else ""
