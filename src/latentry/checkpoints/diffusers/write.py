"""A model as a folder that diffusers opens with `from_pretrained`: weights as safetensors, the rest as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from latentry import config as plain
from latentry.checkpoints import durable
from latentry.checkpoints import tensors as safetensors
from latentry.checkpoints.diffusers import autoencoder, own, unet_names
from latentry.checkpoints.diffusers.files import (
    ENCODER,
    INDEX,
    NETWORK,
    SCHEDULER,
    SIDE,
    Parts,
    write_component,
    write_json,
)
from latentry.checkpoints.diffusers.pipelines import (
    ENCODERS,
    LEFT_OUT,
    PIPELINES,
    SCHEDULER_FOLDER,
    Facts,
    configs,
    pipeline_of,
)
from latentry.checkpoints.diffusers.settings import VERSION
from latentry.checkpoints.diffusers.text.encoder import Encoder
from latentry.checkpoints.manifest import publishing
from latentry.checkpoints.model_folder import CARD, ModelFolder
from latentry.checkpoints.store import SPARE
from latentry.errors import UsageError

TOKEN_TABLES = ("transformer.token.weight", "token_embedding.weight")


def write(model: ModelFolder, path: Path) -> None:
    """Write the model for diffusers, whole or not at all; an older folder at `path` is replaced.

    A first stage alone becomes AutoencoderKL or VQModel; with a denoiser one of diffusers' own pipelines, or, for what
    these cannot do, LatentryPipeline, whose code lies in the folder. Raises UsageError naming the first thing that
    diffusers would not compute as we do; nothing is written then.
    """
    parts = parts_of(model)
    need = sum(safetensors.size(group) for group in parts.tensors.values()) + SPARE
    with publishing(path, need) as folder:
        for name, settings in parts.configs.items():
            if name == SCHEDULER_FOLDER:
                (folder / name).mkdir()
                write_json(folder / name / SCHEDULER, settings)
            else:
                write_component(folder / name, settings, parts.stems.get(name, NETWORK), parts.tensors[name])
        for name, content in parts.files.items():
            _write_file(folder / name, content)
        if parts.pipeline is not None:
            write_json(folder / INDEX, parts.pipeline)
        _write_texts(folder, model)


def parts_of(model: ModelFolder) -> Parts:
    """What is to be written. Raises UsageError for what no pipeline, and not ours either, can hold."""
    try:
        return _stock(model)
    except UsageError as error:
        if not own.may_hold(model.config):
            raise
        try:
            return own.parts(model, facts_of(model).scale)
        except UsageError:
            raise error from None


def _stock(model: ModelFolder) -> Parts:
    """For diffusers' own pipelines."""
    made = configs(model.config, facts_of(model))
    pipeline = pipeline_of(model.config)
    if pipeline is None:
        return Parts(made, _tensors(model), None)
    encoder = ENCODERS.get(PIPELINES[pipeline].condition)
    files, stems = {}, {}
    if encoder is not None:
        tokenizer = _tokenizer(model, encoder)
        made[encoder.folder] |= encoder.extras(tokenizer)
        stems[encoder.folder] = ENCODER
        files = {f"tokenizer/{name}": content for name, content in encoder.tokenizer_files(tokenizer).items()}
    return Parts(made, _tensors(model), _index(pipeline, made, encoder), files, stems)


def facts_of(model: ModelFolder) -> Facts:
    """What the configs say that is in the weights."""
    scale = autoencoder.scale_of(model.tensors["autoencoder"])
    rows = [len(t) for name, t in model.tensors.get("conditioning", {}).items() if name.endswith(TOKEN_TABLES)]
    return Facts(scale, rows[0] if rows else 0)


def _tensors(model: ModelFolder) -> dict[str, Mapping[str, Tensor]]:
    """The weights of every component by its folder, under diffusers' names."""
    config = model.config
    first = autoencoder.to_theirs(model.tensors["autoencoder"], len(config.autoencoder.multipliers))
    pipeline = pipeline_of(config)
    if pipeline is None or config.diffusion is None:
        return {"": first}
    shape = PIPELINES[pipeline]
    network = unet_names.to_theirs(model.tensors["unet"], config.diffusion.unet)
    groups: dict[str, Mapping[str, Tensor]] = {"unet": network}
    if shape.first_stage:
        groups[shape.first_stage] = first
    if encoder := ENCODERS.get(shape.condition):
        prefix = f"conditioners.{next(iter(config.diffusion.conditioning))}.transformer."
        own = {k.removeprefix(prefix): t for k, t in model.tensors["conditioning"].items()}
        groups[encoder.folder] = encoder.to_theirs(own)
    return groups


def _index(pipeline: str, made: Mapping[str, Any], encoder: Encoder | None) -> dict[str, Any]:
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": VERSION}
    index |= {name: ["diffusers", config["_class_name"]] for name, config in made.items() if "_class_name" in config}
    if encoder is not None:
        index |= {encoder.folder: [encoder.library, encoder.name], "tokenizer": list(encoder.tokenizer)}
    if pipeline in LEFT_OUT:
        index |= {name: [None, None] for name in LEFT_OUT[pipeline]} | {"requires_safety_checker": False}
    return index


def _tokenizer(model: ModelFolder, encoder: Encoder) -> str:
    """The text of the tokenizer among the model's files."""
    assert model.config.diffusion is not None
    for name in (*(f"{name}.{encoder.file}" for name in model.config.diffusion.conditioning), encoder.file):
        if name in model.texts:
            return model.texts[name]
    raise UsageError(f"export to diffusers: the model has no {encoder.file}. Take a whole copy of the model.")


def _write_file(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, str):
        durable.write(path, [content.encode()])
    else:
        write_json(path, content)


def _write_texts(folder: Path, model: ModelFolder) -> None:
    own = model.config.model_dump(mode="json", exclude_none=True)
    durable.write(folder / SIDE, [plain.dump_yaml(own).encode()])
    if model.card:
        durable.write(folder / CARD, [model.card.encode()])
