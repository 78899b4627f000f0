"""Folders of diffusers as models of ours: pipelines, and first stages alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry import __version__
from latentry import config as plain
from latentry.checkpoints.diffusers import autoencoder, own, scheduler, unet, unet_names
from latentry.checkpoints.diffusers.files import (
    CONFIG,
    ENCODER,
    INDEX,
    NETWORK,
    SCHEDULER,
    SIDE,
    check,
    part,
    read_json,
    read_weights,
)
from latentry.checkpoints.diffusers.pipelines import (
    ALIASES,
    ENCODERS,
    PIPELINES,
    SCHEDULER_FOLDER,
    Facts,
    configs,
    latent_channels,
    pixel_size,
)
from latentry.checkpoints.diffusers.settings import refused
from latentry.checkpoints.diffusers.text.encoder import Encoder
from latentry.checkpoints.model_folder import CARD, ModelFolder
from latentry.conditioning.words import tokenizer as tokens
from latentry.errors import LatentryError, UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions, ModelConfig
from latentry.nn.unet import UNet

PROMPT = "text"
"""What we call the prompt's conditioner."""


def read(path: Path) -> ModelFolder:
    """Read a pipeline folder, or the folder of an AutoencoderKL or VQModel, which gives a first stage alone.

    A safety checker and a feature extractor are left out: they are no part of the model. A UNet alone is refused, as it
    does not say how its latents are made. Raises UsageError naming what would not be the same model here.
    """
    try:
        return _read_pipeline(path) if (path / INDEX).is_file() else _read_component(path)
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:  # of values no class has
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: its configs describe no model that can be built ({reason}). Check them.") from error


def _read_component(path: Path) -> ModelFolder:
    content = read_json(path / CONFIG)
    name = content.get("_class_name")
    if name in unet.CLASSES:
        raise UsageError(
            f"{path}: a {name} alone; accepted are pipelines and first stages ({', '.join(autoencoder.CLASSES)}). "
            "Give the folder of the whole pipeline: its model_index.json, first stage and scheduler."
        )
    if name not in autoencoder.CLASSES:
        raise refused(str(path / CONFIG), f"{name}", f"known: {', '.join((*autoencoder.CLASSES, *PIPELINES))}")
    options, s = autoencoder.from_config(content, str(path / CONFIG))
    derived = {"autoencoder": options, "data": {"size": _square(s["sample_size"]), "channels": s["in_channels"]}}
    config = _config(path, derived, {"": content}, Facts(s["scaling_factor"]))
    tensors = _first_stage(path, config, s["scaling_factor"])
    return ModelFolder(config, {"autoencoder": tensors}, card=_card(path))


def _read_pipeline(path: Path) -> ModelFolder:
    said = read_json(path / INDEX).get("_class_name")
    if said == own.CLASS:
        return own.read(path)
    name = ALIASES.get(said, said) if isinstance(said, str) else said
    if name not in PIPELINES:
        raise refused(str(path / INDEX), f"{name}", f"known: {', '.join(PIPELINES)}")
    shape = PIPELINES[name]
    encoder = ENCODERS.get(shape.condition)
    folders = [shape.first_stage, "unet", encoder.folder if encoder else None]
    files = {folder: read_json(part(path, folder) / CONFIG) for folder in folders if folder}
    files[SCHEDULER_FOLDER] = read_json(part(path, SCHEDULER_FOLDER) / SCHEDULER)
    derived, facts = _derive(path, name, encoder, files)
    config = _config(path, derived, files, facts)
    groups = {"autoencoder": _first_stage(path / (shape.first_stage or ""), config, facts.scale)}
    groups["unet"] = _unet(part(path, "unet"), config)
    texts = {}
    if encoder is not None and config.diffusion is not None:
        ((condition, options),) = config.diffusion.conditioning.items()
        tensors = encoder.to_ours(read_weights(path / encoder.folder, ENCODER))
        with torch.device("meta"):
            check(encoder.network(options, facts.rows), tensors, str(path / encoder.folder))
        groups["conditioning"] = {f"conditioners.{condition}.transformer.{k}": t for k, t in tensors.items()}
        texts[encoder.file] = encoder.read_tokenizer(path / "tokenizer", options)
        _check_tokens(path / "tokenizer", texts[encoder.file], facts.rows)
    return ModelFolder(config, groups, texts, card=_card(path))


def _derive(path: Path, name: str, encoder: Encoder | None, files: Mapping[str, Any]) -> tuple[dict[str, Any], Facts]:
    """Our options as a plain mapping, from the files of diffusers alone."""
    shape, where = PIPELINES[name], str(part(path, "unet") / CONFIG)
    _expect(where, files["unet"], (shape.network,))
    network, u = unet.from_config(files["unet"], where)
    if shape.first_stage:
        first_where = str(path / shape.first_stage / CONFIG)
        _expect(first_where, files[shape.first_stage], tuple(autoencoder.CLASSES))
        first, s = autoencoder.from_config(files[shape.first_stage], first_where)
    else:
        first = AutoencoderOptions(kind="identity", z_channels=u["out_channels"])
        s = {"in_channels": u["out_channels"], "scaling_factor": 1.0, "sample_size": u["sample_size"]}
    process, sample = scheduler.from_config(files[SCHEDULER_FOLDER], str(part(path, SCHEDULER_FOLDER) / SCHEDULER))
    latent = first.latent_channels or first.z_channels
    concat = latent if shape.condition == "image" else 0
    if (u["in_channels"], u["out_channels"]) != (latent + concat, latent):
        what = f"in_channels {u['in_channels']}, out_channels {u['out_channels']}"
        raise refused(where, what, f"{name} has {latent + concat} and {latent} with this first stage")
    conditions: dict[str, Any] = {"image": {"kind": "image", "channels": concat}} if concat else {}
    rows = 0
    if encoder is not None:
        conditions[PROMPT], rows = encoder.options(files[encoder.folder], str(path / encoder.folder / CONFIG))
    size = u["sample_size"]
    derived = {
        "data": {
            "size": _square(s["sample_size"]) if size is None else pixel_size(size, first.factor, name),
            "channels": s["in_channels"],
        },
        "autoencoder": first,
        "diffusion": {**process, "unet": network, "conditioning": conditions},
        "sample": {**sample, "steps": shape.steps, "guidance": shape.guidance},
    }
    return derived, Facts(1.0 if shape.condition == "image" else s["scaling_factor"], rows)  # which that does not read


def _config(path: Path, derived: Mapping[str, Any], files: Mapping[str, Any], facts: Facts) -> ModelConfig:
    """Our own file's options where diffusers' files are those that it would be written as, else the derived ones."""
    if (path / SIDE).is_file():
        kept = plain.validate(ModelConfig, plain.load_yaml(path / SIDE), str(path / SIDE))
        if _as_written(kept, files, facts):
            return kept
    name = path.resolve().name
    return plain.validate(ModelConfig, {"name": name, "version": __version__, **derived}, str(path))


def _as_written(own: ModelConfig, files: Mapping[str, Any], facts: Facts) -> bool:
    try:
        made = configs(own, facts)
    except UsageError:
        return False
    same = made.keys() == files.keys()
    return same and all(_plain(files[name].get(k)) == _plain(v) for name in made for k, v in made[name].items())


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _expect(where: str, content: Mapping[str, Any], classes: tuple[str, ...]) -> None:
    if content.get("_class_name") not in classes:
        raise refused(where, f"{content.get('_class_name')}", f"known here: {', '.join(classes)}")


def _check_tokens(folder: Path, text: str, rows: int) -> None:
    size = max(tokens.parse(text, str(folder)).get_vocab().values(), default=-1) + 1
    if size != rows:
        raise LatentryError(f"{folder}: {size} tokens, the encoder's table has {rows} rows. Take another copy.")


def _square(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _first_stage(folder: Path, config: ModelConfig, scale: float) -> dict[str, Tensor]:
    options, tensors = config.autoencoder, autoencoder.buffers(scale, latent_channels(config))
    if options.kind != "identity":
        tensors |= autoencoder.to_ours(read_weights(folder, NETWORK), len(options.multipliers))
    with torch.device("meta"):
        check(Autoencoder(options, config.data.channels), tensors, str(folder))
    return tensors


def _unet(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    assert config.diffusion is not None
    options, conditions = config.diffusion.unet, config.diffusion.conditioning
    tensors = unet_names.to_ours(read_weights(folder, NETWORK), options)
    latent = latent_channels(config)
    context = next((o.model_dump()["width"] for o in conditions.values() if o.kind in ENCODERS), None)
    with torch.device("meta"):
        network = UNet(
            in_channels=latent,
            out_channels=latent,
            concat_channels=latent if any(o.kind == "image" for o in conditions.values()) else 0,
            context_channels=context,
            **options.model_dump(exclude={"context_channels"}),
        )
        check(network, tensors, str(folder))
    return tensors


def _card(path: Path) -> str:
    return (path / CARD).read_text(encoding="utf-8") if (path / CARD).is_file() else ""
