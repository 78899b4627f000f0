"""The models that a training takes over or begins with, read once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from latentry.checkpoints import model_folder
from latentry.checkpoints.model_folder import ModelFolder
from latentry.checkpoints.run_folder import MODEL
from latentry.checkpoints.store import Saved, Store
from latentry.errors import UsageError
from latentry.models.config import AutoencoderOptions
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.pipeline.foreign import read_model
from latentry.pipeline.load import assemble
from latentry.training.recipe.recipe import Recipe

ONE_STAGE = "diffusion.from: {} holds a first stage alone; name a model with both"
LATER = ("unet", "unet_raw", "conditioning", "classifier")


@dataclass(frozen=True)
class Sources:
    """first: the model of `autoencoder.from`, or what the run has made of it by now. second: the second stage of
    `diffusion.from` to begin with, unless the run has a checkpoint of its own. saved: that newest checkpoint.
    taken: the model of `diffusion.from` whose second stage is taken as it is (tune: false)."""

    first: ModelFolder | None = None
    second: LatentDiffusion | None = None
    saved: Saved | None = None
    taken: ModelFolder | None = None

    def architecture(self, recipe: Recipe) -> AutoencoderOptions:
        """Of the first stage, which another model may give."""
        return recipe.autoencoder.architecture() if self.first is None else self.first.config.autoencoder


def read_sources(recipe: Recipe, out: Path) -> Sources:
    """What the recipe names and the run holds. Raises UsageError for a model that is not there or does not fit."""
    saved, source = Store(out / "diffusion", report=lambda _: None).newest(), recipe.diffusion.from_
    first = None if recipe.autoencoder.from_ is None else _first(recipe, recipe.autoencoder.from_, out)
    if source is not None and not recipe.diffusion.tune:
        return Sources(first, taken=_taken(source))
    return Sources(first, None if source is None or saved else _second(source), saved)


def _first(recipe: Recipe, source: str, out: Path) -> ModelFolder:
    damaged = model_folder.is_model(out / MODEL) and model_folder.damage(out / MODEL)
    if model_folder.is_model(out / MODEL) and not damaged:
        return model_folder.read(out / MODEL, without=LATER)
    model = read_model(Path(source))
    if damaged and (own := model_folder.kept(out / MODEL, "autoencoder")):  # the source may have changed since
        model = replace(model, tensors={**model.tensors, "autoencoder": own})
    if model.config.data.channels != recipe.data.channels and not recipe.autoencoder.tune:
        raise UsageError(
            f"autoencoder.from {source}: made for {model.config.data.channels} channels, data.channels is "
            f"{recipe.data.channels}. Train a first stage of your own, or change data.channels."
        )
    return model


def _taken(source: str) -> ModelFolder:
    model = read_model(Path(source))
    if model.config.diffusion is None:
        raise UsageError(ONE_STAGE.format(source))
    return model


def _second(source: str) -> LatentDiffusion:
    denoiser = assemble(read_model(Path(source)), source).denoiser
    if denoiser is None:
        raise UsageError(ONE_STAGE.format(source))
    return denoiser
