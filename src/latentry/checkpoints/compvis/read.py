"""A published checkpoint as a model folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from latentry.checkpoints.compvis.config import Published
from latentry.checkpoints.compvis.first_stage_names import to_ours
from latentry.checkpoints.compvis.locations import (
    CONDITION,
    EMA_COUNTERS,
    FIRST_STAGE,
    OPTIONAL,
    Location,
    Locations,
    locations,
)
from latentry.checkpoints.foreign.file import ForeignFile
from latentry.checkpoints.model_folder import ModelFolder
from latentry.conditioning import clip_text
from latentry.conditioning.text import FILE
from latentry.conditioning.words import clip_tokenizer, tokenizer
from latentry.diffusion.schedule import build_schedule
from latentry.errors import LatentryError, UsageError
from latentry.models.config import ModelConfig

Weights = Literal["both", "ema", "raw"]
SHOWN = 4
LOSS = "loss."
OTHER = "The weights belong to another config. Give that one."


def read(
    path: Path,
    file: ForeignFile,
    published: Published,
    *,
    weights: Weights = "both",
    vocabulary: Path | None = None,
    report: Callable[[str], None] = print,
) -> ModelFolder:
    """Every tensor of the file under our names; tensors stay on the mapped file.

    weights: `ema` and `raw` keep one set of the denoiser, `both` what there is; the model samples with the averages.
    vocabulary: for models that read text BERT's vocab.txt, or a folder of CLIP's vocab.json and merges.txt.
    report: called with a line for each field or key without meaning here.
    Raises LatentryError for a key that is missing or has another shape, UsageError for averages that are not there.
    """
    config = _with_schedule(published.config, file.tensors)
    texts = _texts(config, vocabulary, report)
    table = locations(config, texts)
    averaged = "model_ema.num_updates" in file.tensors or any(key in file.tensors for key in table.averaged)
    if weights == "ema" and table.averaged and not averaged:
        raise UsageError(f"{path}: holds no averaged weights (no model_ema keys). Ask for `raw` or `both`.")
    kept = dict(table.kept) if weights != "ema" or not averaged else _without(table.kept, "unet_raw")
    if averaged and weights != "raw":
        kept |= table.averaged
    groups = _collect(path, file.tensors, kept)
    if "unet_raw" in groups and "unet" not in groups:
        groups["unet"] = groups.pop("unet_raw")
    for key, shape in table.unused.items():
        if key in file.tensors:
            _check_shape(path, key, file.tensors[key], shape)
    for key, repeated in table.doubled.items():
        if key in file.tensors and not torch.equal(file.tensors[key], file.tensors[repeated]):
            raise LatentryError(f"{path}: {key} differs from {repeated}, which it should repeat. Take another copy.")
    groups["autoencoder"] = groups.get("autoencoder", {}) | _scale(path, published, config, file.tensors)
    objective = _objective(file.tensors) if config.diffusion is None else _extra(file.tensors)
    if objective:
        groups["objective"] = objective
    for line in (*published.warnings, *_left_over(file, table)):
        report(f"warning: {line}")
    return ModelFolder(_with_facts(config, published, file, averaged), groups, texts)


def _collect(path: Path, tensors: Mapping[str, Tensor], kept: Mapping[str, Location]) -> dict[str, dict[str, Tensor]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for key, location in kept.items():
        if key not in tensors:
            raise LatentryError(f"{path}: has no {key}; the config asks for one of {_size(location.shape)}. {OTHER}")
        _check_shape(path, key, tensors[key], location.shape)
        groups.setdefault(location.group, {})[location.name] = tensors[key]
    return groups


def _check_shape(path: Path, key: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        size = _size(tuple(tensor.shape))
        raise LatentryError(f"{path}: {key} is {size}; the config asks for {_size(shape)}. {OTHER}")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _without(kept: Mapping[str, Location], group: str) -> dict[str, Location]:
    return {key: location for key, location in kept.items() if location.group != group}


def _with_schedule(config: ModelConfig, tensors: Mapping[str, Tensor]) -> ModelConfig:
    """The config with the file's own table where the named schedule does not give exactly that."""
    if config.diffusion is None or "alphas_cumprod" not in tensors:
        return config
    table = tensors["alphas_cumprod"]
    named = build_schedule(config.diffusion.schedule)
    if torch.equal(named.abar.float(), table.float()):
        return config
    tree = config.model_dump()
    tree["diffusion"]["schedule"] = {"kind": "table", "abar": table.tolist()}
    return ModelConfig.model_validate(tree)


def _texts(config: ModelConfig, vocabulary: Path | None, report: Callable[[str], None]) -> dict[str, str]:
    """The tokenizer of a text model: from `vocabulary`, else a stand-in without words."""
    conditioning = config.diffusion.conditioning if config.diffusion is not None else {}
    options: Any = next((o for o in conditioning.values() if o.kind in ("text", "clip_text")), None)
    if options is None:
        return {}
    clip = options.kind == "clip_text"
    size = clip_tokenizer.TOKENS if clip else options.vocabulary
    if vocabulary is None:
        report("text: no --vocabulary; the model takes token numbers, and of prompts only the empty one")
        made = clip_tokenizer.without_words(options.length) if clip else tokenizer.without_words(size)
    else:
        made = clip_tokenizer.read(vocabulary, options.length) if clip else tokenizer.read(vocabulary)
    if (tokens := max(made.get_vocab().values()) + 1) != size:
        raise UsageError(f"{vocabulary}: has {tokens} tokens; this model reads {size}. Give another.")
    if not clip:
        tokenizer.fix_length(made, options.length)
    return {clip_text.FILE if clip else FILE: made.to_str(pretty=True)}


def _scale(path: Path, published: Published, config: ModelConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    channels = config.autoencoder.latent_channels or config.autoencoder.z_channels
    scale = tensors.get("scale_factor")
    if scale is None and published.scale is None and config.diffusion is not None:
        raise LatentryError(f"{path}: has no scale_factor, although its config sets scale_by_std. {OTHER}")
    if scale is None:
        scale = torch.tensor(1.0 if published.scale is None else published.scale)
    return {"latent_scale": scale.float().reshape(()), "latent_shift": torch.zeros(channels)}


def _objective(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What first stages were trained with: discriminator, perceptual network, log-variance."""
    return {to_ours(key): value for key, value in tensors.items() if key.startswith(LOSS)}


def _extra(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What second stages were trained with."""
    return {"log_variance": tensors["logvar"]} if "logvar" in tensors else {}


def _left_over(file: ForeignFile, table: Locations) -> Iterable[str]:
    """What of the file has no meaning here, so that nothing is dropped in silence."""
    first_stage_alone = not table.averaged
    expected = {*table.kept, *table.averaged, *table.unused, *table.doubled, *EMA_COUNTERS, *OPTIONAL}
    rest = [k for k in file.tensors if k not in expected and not (first_stage_alone and k.startswith(LOSS))]
    rest = [key for key in rest if not key.startswith((FIRST_STAGE + LOSS, CONDITION + LOSS))]
    if rest:
        more = f" and {len(rest) - SHOWN} more" if len(rest) > SHOWN else ""
        yield f"not used, as the config has no such part: {', '.join(rest[:SHOWN])}{more}"
    if file.dropped:
        more = ", ..." if len(file.dropped) > SHOWN else ""
        yield f"left in the file, never run: objects of {', '.join(file.dropped[:SHOWN])}{more}"


def _with_facts(config: ModelConfig, published: Published, file: ForeignFile, averaged: bool) -> ModelConfig:
    """What the file and config say of the training, kept in `trained`."""
    stage = "autoencoder" if config.diffusion is None else "diffusion"
    facts: dict[str, Any] = {k: file.facts[k] for k in ("epoch", "global_step") if k in file.facts}
    if "global_step" in facts:
        facts[f"{stage}_steps"] = facts.pop("global_step")
    if averaged and "model_ema.num_updates" in file.tensors:
        facts["ema_updates"] = int(file.tensors["model_ema.num_updates"])
    trained = {**config.trained, **facts, **({"published": published.training} if published.training else {})}
    return config.model_copy(update={"trained": trained})
