"""Checkpoints of other programs, read as model folders and written again: CompVis files and diffusers folders."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from latentry import config as tools
from latentry.checkpoints import diffusers, model_folder, run_folder
from latentry.checkpoints.compvis.config import Published, translate
from latentry.checkpoints.compvis.read import Weights, read
from latentry.checkpoints.compvis.write import config_of, write
from latentry.checkpoints.foreign import file as foreign_file
from latentry.checkpoints.model_folder import ModelFolder
from latentry.errors import UsageError
from latentry.models.config import DataFacts

CONFIG_NAMES = ("config.yaml", "{stem}.yaml", "project.yaml")
WARN = logging.getLogger("latentry").warning
SUFFIXES = (".yaml", ".yml")


def import_model(
    path: Path,
    config: str | Path | Published | None = None,
    *,
    weights: Weights = "both",
    vocabulary: str | Path | None = None,
    report: Callable[[str], None] = WARN,
) -> ModelFolder:
    """The model that a foreign file or folder holds, under our names; nothing of it is run.

    config: its YAML, or what one says; default: the YAML beside the file. weights: which of the denoiser's are kept.
    vocabulary: for text models of CompVis, BERT's vocab.txt or a folder with CLIP's vocab.json and merges.txt.
    report: called with what has no meaning here. Raises UsageError, LatentryError.
    """
    if path.is_dir():
        return diffusers.read(path)
    meaning = config if isinstance(config, Published) else published(path, config)
    words = Path(vocabulary).expanduser() if vocabulary is not None else None
    return read(path, foreign_file.read(path), meaning, weights=weights, vocabulary=words, report=report)


def read_model(path: Path, step: int | str | None = None) -> ModelFolder:
    """The model of a run (its newest checkpoint, or that of `step`), a model folder, a checkpoint beside its config, or
    of diffusers."""
    if run_folder.is_run(path):
        return run_folder.read(path, step=step)
    refuse_step(path, step)
    if model_folder.is_model(path):
        return model_folder.read(path)
    if path.is_file() or diffusers.is_diffusers(path):
        return import_model(path)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; give a run, a model folder or a checkpoint")
    raise UsageError(f"{path}: neither a run, a model folder, a checkpoint nor a folder of diffusers")


def refuse_step(path: Path, step: int | str | None) -> None:
    """Raise UsageError where a step is asked of what is no run."""
    if step is not None and path.exists():
        raise UsageError(f"{path}: has no checkpoints to choose from; for those you need the run it came from")


def export_model(
    source: Path,
    to: str,
    out: Path,
    *,
    stage: str | None = None,
    step: int | str | None = None,
    report: Callable[[str], None] = WARN,
) -> list[Path]:
    """Write a model folder or run for another program; the paths written.

    to: `compvis` or `diffusers`. out: a folder, or for CompVis also a .ckpt. stage: `autoencoder` alone, or None, all.
    step: of a run's checkpoints, a number or `best`. report: called with a line about what is kept, but not understood
    there.
    Raises UsageError naming what has no place there and where it has one, and where `out` already exists.
    """
    if out.exists():
        raise UsageError(f"--out {out}: already exists. Choose another.")
    model = read_model(source, step)
    model = first_stage_of(model) if stage == "autoencoder" else model
    left = model.config.classifier is not None
    model = replace(model, config=model.config.model_copy(update={"classifier": None}))
    try:
        HOLDS[to](model)
    except UsageError as refusal:
        raise UsageError(f"{refusal} {_elsewhere(model, to)}") from refusal
    if to == "diffusers":
        diffusers.write(model, out)
        written = [out]
    else:
        written = list(write(model, out))
    if model.config.data.range is not None:
        report(_unsaid_range(model.config.data, to))
    if left:
        report(f"classifier: {to} has no place for it; it is left out. It stays in {source}.")
    return written


def _unsaid_range(data: DataFacts, to: str) -> str:
    what = "of each image its own percentiles" if data.units is None else str(data.units)
    return (
        f"data.range: {to} has no place for it; images are -1 to 1 there, which here is {what}. It is kept for "
        "`latentry import` alone: map values to -1..1 and back yourself where the model is used elsewhere."
    )


HOLDS: dict[str, Callable[[ModelFolder], object]] = {"compvis": config_of, "diffusers": diffusers.parts_of}
"""By format, what raises UsageError for a model that it does not hold in full."""


def first_stage_of(model: ModelFolder) -> ModelFolder:
    """The first stage alone."""
    config = model.config.model_copy(update={"diffusion": None, "classifier": None})
    return ModelFolder(config, {"autoencoder": model.tensors["autoencoder"]}, card=model.card)


def _elsewhere(model: ModelFolder, to: str) -> str:
    """What to do with a model that format `to` refuses: each format is asked."""
    for name in HOLDS:
        if name != to and _holds(name, model):
            return f"Use --format {name}, which holds this model in full."
    used = "use the model as the folder that it is (`latentry sample`, `lt.load`)"
    for name in HOLDS:
        if model.config.diffusion is not None and _holds(name, first_stage_of(model)):
            return f"No format holds all of it: {used}, or write its first stage, --stage autoencoder --format {name}."
    return f"No format holds it: {used}."


def _holds(name: str, model: ModelFolder) -> bool:
    try:
        HOLDS[name](model)
    except UsageError:
        return False
    return True


def published(path: Path, config: str | Path | None = None) -> Published:
    """What a checkpoint's config says: its YAML `config`, else the one beside it. Raises UsageError."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file or folder; give a checkpoint, a model, a run or a diffusers folder")
    where = Path(config).expanduser() if config is not None else _beside(path)
    if not where.is_file():
        raise UsageError(f"--config {where}: no such file; give the checkpoint's YAML.")
    tree: Any = tools.load_yaml(where)
    name = path.stem if path.stem not in ("model", "last") else path.absolute().parent.name
    try:
        return translate(tree, name)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _beside(path: Path) -> Path:
    """The config in the checkpoint's folder."""
    for name in CONFIG_NAMES:
        named = path.with_name(name.format(stem=path.stem))
        if named.is_file():
            return named
    others = sorted(p for p in path.absolute().parent.iterdir() if p.suffix in SUFFIXES)
    if len(others) == 1:
        return others[0]
    raise UsageError(
        f"{path}: the file does not say its architecture, and its folder has no config.yaml. Give --config YAML."
    )
