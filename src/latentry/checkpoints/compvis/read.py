"""A published checkpoint as a model folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from latentry.checkpoints.compvis.config import Published
from latentry.checkpoints.compvis.first_stage_names import to_ours
from latentry.checkpoints.compvis.keys import standard
from latentry.checkpoints.compvis.locations import (
    CONDITION,
    EMA_COUNTERS,
    FIRST_STAGE,
    OPTIONAL,
    UNET,
    Location,
    Locations,
    locations,
)
from latentry.checkpoints.compvis.tables import unrounded, with_schedule
from latentry.checkpoints.foreign.file import ForeignFile
from latentry.checkpoints.model_folder import ModelFolder
from latentry.conditioning import clip_text
from latentry.conditioning.text import FILE
from latentry.conditioning.words import clip_tokenizer, tokenizer
from latentry.errors import LatentryError, UsageError
from latentry.models.config import ModelConfig

Weights = Literal["both", "ema", "raw"]
SHOWN = 4
LOSS, AVERAGED = "loss.", "model_ema.diffusion_model"
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
    published = _of_what_is_there(file.tensors, published, report)
    texts = _texts(published.config, vocabulary, report)
    tensors = standard(file.tensors, locations(published.config, texts))
    try:
        config = with_schedule(published.config, tensors)
    except LatentryError as error:
        raise LatentryError(f"{path}: {error}") from error
    table = locations(config, texts)
    wanted, averaged = _wanted(path, tensors, table, weights)
    groups = _collect(path, tensors, wanted)
    if "unet_raw" in groups and "unet" not in groups:
        groups["unet"] = groups.pop("unet_raw")
    for key, shape in table.unused.items():
        if key in tensors:
            _check_shape(path, key, tensors[key], shape)
    for key, repeated in table.doubled.items():
        if key in tensors and not torch.equal(tensors[key], tensors[repeated]):
            raise LatentryError(f"{path}: {key} differs from {repeated}, which it should repeat. Take another copy.")
    groups["autoencoder"] = groups.get("autoencoder", {}) | _scale(path, published, config, tensors)
    objective = _objective(tensors) if config.diffusion is None else _extra(tensors)
    if objective:
        groups["objective"] = objective
    for line in (*published.warnings, *_left_over(file, tensors, table)):
        report(f"warning: {line}")
    return ModelFolder(_with_facts(config, published, file, averaged), groups, texts)


def _of_what_is_there(tensors: Mapping[str, Tensor], published: Published, report: Callable[[str], None]) -> Published:
    """As it is, or the first stage alone where the file has no denoiser: a decoder by itself, say."""
    config = published.config
    if config.diffusion is None or config.autoencoder.kind == "identity":
        return published
    if any(UNET in key or key.startswith(AVERAGED) for key in tensors):
        return published
    if not any(key.endswith("encoder.conv_in.weight") for key in tensors):
        return published
    report("the file holds no denoiser (no model.diffusion_model keys): its first stage is taken alone")
    return published._replace(config=config.model_copy(update={"diffusion": None}))


def _wanted(
    path: Path, tensors: Mapping[str, Tensor], table: Locations, weights: Weights
) -> tuple[dict[str, Location], bool]:
    """Where the keys that are asked for belong, and whether averages are among them. Counters alone are no averages."""
    averaged = any(key in tensors for key in table.averaged)
    raw = any(location.group == "unet_raw" and key in tensors for key, location in table.kept.items())
    if table.averaged and weights == "ema" and not averaged:
        raise UsageError(f"{path}: holds no averaged weights (no model_ema keys). Ask for `raw` or `both`.")
    if weights == "raw" and averaged and not raw:
        raise UsageError(f"{path}: holds averaged weights alone (model_ema keys). Ask for `ema` or `both`.")
    wanted = _without(table.kept, "unet_raw") if averaged and (weights == "ema" or not raw) else dict(table.kept)
    if averaged and weights != "raw":
        wanted |= table.averaged
    return wanted, averaged


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
    stored, said = tensors.get("scale_factor"), published.scale
    if stored is None and said is None and config.diffusion is not None:
        raise LatentryError(f"{path}: has no scale_factor, although its config sets scale_by_std. {OTHER}")
    scale = (1.0 if said is None else said) if stored is None else unrounded(stored, said)
    return {"latent_scale": torch.tensor(scale, dtype=torch.float32), "latent_shift": torch.zeros(channels)}


def _objective(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What first stages were trained with: discriminator, perceptual network, log-variance."""
    return {to_ours(key): value for key, value in tensors.items() if key.startswith(LOSS)}


def _extra(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What second stages were trained with."""
    return {"log_variance": tensors["logvar"]} if "logvar" in tensors else {}


def _left_over(file: ForeignFile, tensors: Mapping[str, Tensor], table: Locations) -> Iterable[str]:
    """What of the file has no meaning here, so that nothing is dropped in silence."""
    first_stage_alone = not table.averaged
    expected = {*table.kept, *table.averaged, *table.unused, *table.doubled, *EMA_COUNTERS, *OPTIONAL}
    rest = [k for k in tensors if k not in expected and not (first_stage_alone and k.startswith(LOSS))]
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
