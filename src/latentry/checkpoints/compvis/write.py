"""A model of ours as a checkpoint and config of the published code."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry import config as tools
from latentry.checkpoints import durable
from latentry.checkpoints.compvis.config import translate
from latentry.checkpoints.compvis.first_stage_names import to_published
from latentry.checkpoints.compvis.locations import Locations, locations
from latentry.checkpoints.compvis.to_config import context_width, refuse, to_config
from latentry.checkpoints.model_folder import ModelFolder
from latentry.conditioning.text import FILE
from latentry.conditioning.words import tokenizer
from latentry.diffusion.process import posterior_log_variance, posterior_variance
from latentry.diffusion.schedule import Schedule, build_schedule
from latentry.models.config import ModelConfig

BERT_TOKENS = 30522
DECAY = 0.9999
OF_TRAINING = {"drop_words", "masks", "factor", "degradation", "field"}
"""Options of conditions that say how images are made into them, and nothing of the network."""


def write(model: ModelFolder, out: Path) -> tuple[Path, Path]:
    """Write PATH.ckpt and PATH.yaml, or model.ckpt and config.yaml in a folder; returns both paths.

    The published code, and `import`, then compute the same. What they have no place for is refused by name
    (UsageError); names of classes, sizes and the like are kept in a section of the YAML that the old code passes over.
    """
    checkpoint = out if out.suffix == ".ckpt" else out / "model.ckpt"
    yaml = out.with_suffix(".yaml") if out.suffix == ".ckpt" else out / "config.yaml"
    tree = config_of(model)
    table = locations(model.config, model.texts)
    state = dict(_state(model, table))
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    trained = model.config.trained
    steps = trained.get("diffusion_steps", trained.get("autoencoder_steps", 0))
    _save(checkpoint, {"state_dict": state, "epoch": int(trained.get("epoch", 0)), "global_step": int(steps)})
    durable.replace_file(yaml, tools.dump_yaml(tree))
    return checkpoint, yaml


def config_of(model: ModelFolder) -> dict[str, Any]:
    """The published config of a model. Raises UsageError naming what has no place in one."""
    first = model.tensors["autoencoder"]
    if bool(first["latent_shift"].any()):
        raise refuse("latent_shift", "latents are scaled there, never shifted")
    words = model.texts.get(FILE)
    if words is not None:
        made = tokenizer.parse(words, FILE)
        if tokenizer.knows_words(made) and made.get_vocab_size() != BERT_TOKENS:
            raise refuse("a vocabulary of its own", "texts are read there with that of bert-base-uncased")
    tree = to_config(model.config, float(first["latent_scale"]))
    differ = _differences(model.config, translate(tree, model.config.name).config)
    if differ:
        raise refuse(", ".join(differ[:4]), "its networks cannot be built that way")
    return {**tree, "latentry": model.config.model_dump(mode="json", exclude_none=True)}


def _differences(ours: ModelConfig, back: ModelConfig) -> list[str]:
    """Keys that a reader of the published config would take for something else."""
    return sorted({key for key, value in _flat(ours).items() if _flat(back).get(key) != value})


def _flat(config: ModelConfig) -> dict[str, Any]:
    """What decides the numbers, by dotted keys; a conditioner by its position, as its name may differ."""
    tree: dict[str, Any] = {"autoencoder": config.autoencoder.model_dump()}
    if config.autoencoder.kind == "identity":
        tree["autoencoder"] = {"kind": "identity", "z_channels": config.autoencoder.z_channels}
    else:
        tree["autoencoder"]["latent_channels"] = config.autoencoder.latent_channels or config.autoencoder.z_channels
    if config.autoencoder.kind == "kl":
        del tree["autoencoder"]["codes"]
    d = config.diffusion
    if d is not None:
        tree["diffusion"] = d.model_dump(exclude={"conditioning"})
        tree["diffusion"]["schedule"].pop("rounded", None)
        tree["diffusion"]["unet"]["context_channels"] = d.unet.context_channels or context_width(d)
        tree["diffusion"]["conditioning"] = {str(i): o.model_dump() for i, o in enumerate(d.conditioning.values())}
        for options in tree["diffusion"]["conditioning"].values():
            for key in OF_TRAINING & options.keys():
                del options[key]
            if options["kind"] == "class_label":
                rows = options["classes"] + (options["null"] is None)
                options |= {"classes": rows, "null": None, "names": None}
    return dict(_leaves(tree, ""))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _state(model: ModelFolder, table: Locations) -> Iterator[tuple[str, Tensor]]:
    """Every key of the published state dict."""
    raw = {**model.tensors, "unet_raw": model.tensors.get("unet_raw", model.tensors.get("unet", {}))}
    kept = {key: raw[location.group][location.name] for key, location in table.kept.items()}
    yield from kept.items()
    yield from ((key, raw["unet"][location.name]) for key, location in table.averaged.items())
    yield from ((key, kept[repeated]) for key, repeated in table.doubled.items())
    if table.averaged:
        yield "model_ema.decay", torch.tensor(DECAY)
        yield "model_ema.num_updates", torch.tensor(int(model.config.trained.get("ema_updates", 0)), dtype=torch.int32)
    if model.config.diffusion is not None:
        tables = schedule_tables(build_schedule(model.config.diffusion.schedule))
        for key, shape in table.unused.items():
            yield key, tables[key] if key in tables else torch.zeros(shape)  # of to_logits nothing is ever read
    for name, tensor in model.tensors.get("objective", {}).items():
        yield ("logvar" if table.averaged else to_published(name)), tensor


def schedule_tables(schedule: Schedule) -> dict[str, Tensor]:
    """The buffers that the published code keeps in its state dict, float32 (T,)."""
    exact = schedule.exact  # they round each table by itself
    abar, before, betas = exact.abar, exact.abar_before, schedule.betas
    tables = {
        "betas": betas,
        "alphas_cumprod": abar,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": abar.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - abar).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - abar).log(),
        "sqrt_recip_alphas_cumprod": (1 / abar).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / abar - 1).sqrt(),
        "posterior_variance": posterior_variance(exact),
        "posterior_log_variance_clipped": posterior_log_variance(exact),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - abar),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - abar),
    }
    return {name: table.float() for name, table in tables.items()}


def _save(path: Path, content: Mapping[str, Any]) -> None:
    """The one pickle we write, because the old code reads nothing else; whole or not at all."""
    partial = path.with_name(path.name + durable.TMP)
    need = sum(t.nbytes for t in content["state_dict"].values())
    try:
        if durable.free_space(path) < need:
            raise durable.disk_full(path, need)
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise durable.explain(error, path, need) from error
    except RuntimeError as error:  # torch's own words for a full disk
        raise durable.disk_full(path, need) from error
    finally:
        partial.unlink(missing_ok=True)
