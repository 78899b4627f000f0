"""Whether recipe, images and networks fit together: asked before anything is written, and of both stages at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from latentry.checkpoints.store import Store
from latentry.conditioning import Conditioner
from latentry.data.dataset import ImageData
from latentry.diffusion.levels import LEVELS
from latentry.errors import LatentryError, UsageError
from latentry.kinds import lookup
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_conditioners
from latentry.models.config import AutoencoderOptions, check_size
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.pipeline.foreign import read_model
from latentry.training import objectives
from latentry.training.plan import record
from latentry.training.plan.recipe import DiffusionTraining, Recipe
from latentry.training.stages.values import build_context, check_fields

TAKEN = {"n", "steps", "solver", "levels", "guidance", "clip", "seed", "size", "batch", "bf16", "progress"}
"""Arguments of `sample`, which no condition can be called."""


def check(recipe: Recipe, data: ImageData, out: Path) -> None:
    """Raise one UsageError (or LatentryError for missing weights) with everything that would fail later.

    Networks are built without memory for their weights; the tokenizer is trained, the perceptual net is found. What
    an earlier start of the run has behind it is not asked again.
    """
    architecture = first_stage(recipe, data)
    problems: list[LatentryError] = []
    with _collected(problems):
        _out(data, out)
    with _collected(problems):
        _size(recipe, data, architecture)
    if not record.is_finished(recipe, out, "autoencoder"):
        with _collected(problems):
            _objective(recipe, data, architecture)
    if not Store(out / "diffusion").steps():
        with _collected(problems):
            _denoiser(recipe, data, architecture)
    if problems:
        texts = [str(problem) for problem in problems]
        text = texts[0] if len(texts) == 1 else "\n  ".join([f"{len(texts)} errors", *texts])
        kind = UsageError if any(isinstance(problem, UsageError) for problem in problems) else LatentryError
        raise kind(f"recipe {recipe.name}: {text}")


def first_stage(recipe: Recipe, data: ImageData) -> AutoencoderOptions:
    """The architecture of the first stage, which another model may give. Raises UsageError if that does not fit."""
    source = recipe.autoencoder.from_
    if source is None:
        return recipe.autoencoder.architecture()
    given = read_model(Path(source)).config
    if given.data.channels != data.options.channels and not recipe.autoencoder.tune:
        raise UsageError(
            f"autoencoder.from {source}: made for {given.data.channels} channels, data.channels is "
            f"{data.options.channels}. Train a first stage of your own, or change data.channels."
        )
    return given.autoencoder


@contextmanager
def _collected(problems: list[LatentryError]) -> Iterator[None]:
    try:
        yield
    except LatentryError as error:
        problems.append(error)


def _out(data: ImageData, out: Path) -> None:
    if out.resolve().is_relative_to(data.root):
        raise UsageError(
            f"--out {out}: lies in the data folder, so that sheets of samples would become training images. "
            "Choose a folder outside it."
        )


def _size(recipe: Recipe, data: ImageData, architecture: AutoencoderOptions) -> None:
    problem = check_size(data.options.height_width, architecture, recipe.diffusion.unet)
    if problem:
        raise UsageError(f"data.{problem}")


def _objective(recipe: Recipe, data: ImageData, architecture: AutoencoderOptions) -> None:
    if recipe.autoencoder.from_ is None:
        with torch.device("meta"):
            Autoencoder(architecture, data.options.channels)
    if recipe.autoencoder.trains:
        objectives.build(recipe.autoencoder.objective, architecture.kind, data.options.channels)


def _denoiser(recipe: Recipe, data: ImageData, architecture: AutoencoderOptions) -> None:
    options = recipe.diffusion.architecture()
    for name, o in options.conditioning.items():
        if not name.isidentifier() or name in TAKEN or hasattr(nn.ModuleDict(), name):
            raise UsageError(
                f'diffusion.conditioning: "{name}" cannot be the name of a condition; call it "text" or "label", say'
            )
        check_fields(name, o, data)
    if recipe.diffusion.from_ is not None and "unet" not in read_model(Path(recipe.diffusion.from_)).tensors:
        raise UsageError(f"diffusion.from: {recipe.diffusion.from_} holds a first stage alone; name a model with both")
    context = build_context(data, data.labels, {}, _silent)
    channels = architecture.latent_channels or architecture.z_channels
    with torch.device("meta"):
        conditioners = build_conditioners(options, dict.fromkeys(options.conditioning, context))
        model = LatentDiffusion(options, channels, conditioners)
    _nulls(conditioners, recipe.diffusion.train)
    try:
        lookup(LEVELS, recipe.sample.levels, "sample.levels")(model.schedule, recipe.sample.steps)
    except UsageError as error:
        raise UsageError(f"sample.{error}") from None


def _nulls(conditioners: Mapping[str, Conditioner], training: DiffusionTraining) -> None:
    """Raise UsageError for a condition that training would drop, but that cannot be absent."""
    for name, conditioner in conditioners.items():
        if conditioner.has_null or not (training.drop(name) or training.drop_all):
            continue
        if training.drop_all:
            keys, fix = f"drop_all is {training.drop_all:g}", "it is never dropped with drop_all 0"
        else:
            keys = f"drop_condition is {training.drop(name):g} for it"
            fix = f"it can be trained with drop_condition {{{name}: 0}}"
        raise UsageError(
            f'diffusion.conditioning.{name}: has no "none" to be dropped to (null: none), and diffusion.train.{keys}; '
            f"{fix}. Set that, or give it a null row by leaving null out."
        )


def _silent(_: str) -> None:
    return None
