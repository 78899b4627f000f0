"""A model as a folder that diffusers opens with `from_pretrained`: weights as safetensors, the rest as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from latentry import config as plain
from latentry.checkpoints import durable
from latentry.checkpoints import tensors as safetensors
from latentry.checkpoints.diffusers import autoencoder, text, unet_names
from latentry.checkpoints.diffusers.files import ENCODER, INDEX, NETWORK, SCHEDULER, write_component, write_json
from latentry.checkpoints.diffusers.pipelines import PIPELINES, SCHEDULER_FOLDER, Facts, configs, pipeline_of
from latentry.checkpoints.diffusers.settings import VERSION
from latentry.checkpoints.manifest import publishing
from latentry.checkpoints.model_folder import CARD, ModelFolder
from latentry.checkpoints.store import SPARE
from latentry.conditioning.text import FILE

SIDE = "latentry.yaml"
"""Our own options, beside what diffusers reads: names, labels, and what changes no number there."""


def write(model: ModelFolder, path: Path) -> None:
    """Write the model for diffusers, whole or not at all; an older folder at `path` is replaced.

    A first stage alone becomes AutoencoderKL or VQModel; with a denoiser LDMPipeline, LDMTextToImagePipeline,
    LDMSuperResolutionPipeline or StableDiffusionPipeline. Raises UsageError naming the first thing that diffusers would
    not compute as we do; nothing is written then.
    """
    made = configs(model.config, facts_of(model))
    groups = _tensors(model, made)
    need = sum(safetensors.size(group) for group in groups.values()) + SPARE
    with publishing(path, need) as folder:
        for name, settings in made.items():
            if name == SCHEDULER_FOLDER:
                (folder / name).mkdir()
                write_json(folder / name / SCHEDULER, settings)
            else:
                stem = NETWORK if "_class_name" in settings else ENCODER
                write_component(folder / name, settings, stem, groups[name])
        if pipeline := pipeline_of(model.config):
            _write_tokenizer(folder / "tokenizer", model)
            write_json(folder / INDEX, _index(pipeline, made))
        _write_texts(folder, model)


def facts_of(model: ModelFolder) -> Facts:
    """What the configs say that is in the weights."""
    scale = autoencoder.scale_of(model.tensors["autoencoder"])
    rows = [len(t) for name, t in model.tensors.get("conditioning", {}).items() if name.endswith(TOKEN_TABLES)]
    return Facts(scale, rows[0] if rows else 0)


TOKEN_TABLES = ("transformer.token.weight", "token_embedding.weight")


def _tensors(model: ModelFolder, made: Mapping[str, Any]) -> dict[str, Mapping[str, Tensor]]:
    """The weights of every component by its folder, under diffusers' names."""
    config = model.config
    first = autoencoder.to_theirs(model.tensors["autoencoder"], len(config.autoencoder.multipliers))
    pipeline = pipeline_of(config)
    if pipeline is None or config.diffusion is None:
        return {"": first}
    shape = PIPELINES[pipeline]
    groups: dict[str, Mapping[str, Tensor]] = {
        "unet": unet_names.to_theirs(model.tensors["unet"], config.diffusion.unet)
    }
    if shape.first_stage:
        groups[shape.first_stage] = first
    if shape.encoder_folder:
        prefix = f"conditioners.{next(iter(config.diffusion.conditioning))}.transformer."
        own = {k.removeprefix(prefix): t for k, t in model.tensors["conditioning"].items()}
        groups[shape.encoder_folder] = text.bert_to_theirs(own)
    return groups


def _index(pipeline: str, made: Mapping[str, Any]) -> dict[str, Any]:
    shape = PIPELINES[pipeline]
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": VERSION}
    for name, settings in made.items():
        index[name] = ["diffusers", settings["_class_name"]] if "_class_name" in settings else list(shape.encoder or ())
    if shape.encoder_folder:
        index["tokenizer"] = ["transformers", "PreTrainedTokenizerFast"]
    return index


def _write_tokenizer(folder: Path, model: ModelFolder) -> None:
    assert model.config.diffusion is not None
    names = [f"{name}.{FILE}" for name in model.config.diffusion.conditioning]
    found = next((model.texts[name] for name in (*names, FILE) if name in model.texts), None)
    if found is None:
        return
    folder.mkdir()
    for name, content in text.bert_tokenizer_files(found).items():
        if isinstance(content, str):
            durable.write(folder / name, [content.encode()])
        else:
            write_json(folder / name, content)


def _write_texts(folder: Path, model: ModelFolder) -> None:
    own = model.config.model_dump(mode="json", exclude_none=True)
    durable.write(folder / SIDE, [plain.dump_yaml(own).encode()])
    if model.card:
        durable.write(folder / CARD, [model.card.encode()])
