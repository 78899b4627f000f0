"""The folder of one experiment: its recipe, checkpoints of its stages, and the model made of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from latentry import config, text
from latentry.checkpoints import model_folder
from latentry.checkpoints.best import resolved
from latentry.checkpoints.model_folder import ModelFolder
from latentry.checkpoints.store import Saved, Store
from latentry.errors import LatentryError, UsageError
from latentry.models.config import ModelConfig

RECIPE, MODEL = "recipe.yaml", "model"
TRIES, PAUSE = 50, 0.05  # of reading again what changed meanwhile; seconds between
STAGES = ("autoencoder", "diffusion", "classifier", "distill")
SCALES = ("latent_scale", "latent_shift")


def is_run(path: Path) -> bool:
    """True if `path` looks like a run folder."""
    return (path / RECIPE).is_file()


def trained_weights(saved: Saved, averaged: bool) -> dict[str, Tensor]:
    """The stage's model with its averaged weights, where it has them and `averaged` is set."""
    weights = saved.tensors("model")
    if averaged and "ema" in saved.groups:
        weights |= {k: v for k, v in saved.tensors("ema").items() if k in weights}
    return weights


def split_denoiser(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """`unet` and `conditioning` groups of a model folder, from a denoiser's state."""
    unet = {k.removeprefix("unet."): v for k, v in weights.items() if k.startswith("unet.")}
    return {"unet": unet, "conditioning": {k: v for k, v in weights.items() if not k.startswith("unet.")}}


def read(path: Path, *, averaged: bool = True, step: int | str | None = None, classifier: bool = False) -> ModelFolder:
    """The model of a run as it is now: the newest good checkpoint, or that of `step`, a number or `best`.

    classifier: of that stage alone, with the first stage whose latents it knows, where there is one.
    May be called at any moment of a training: what is replaced or pruned while it is read is read again.
    Raises UsageError while nothing has been saved.
    """
    read_now = _classifier if classifier and Store(path / "classifier").steps() else _read
    for _ in range(TRIES):
        before = _contents(path)
        try:
            return read_now(path, averaged, step)
        except (LatentryError, OSError):
            if _contents(path) == before and not any(path.glob("model*.tmp")):
                raise
            time.sleep(PAUSE)
    return read_now(path, averaged, step)


def _contents(path: Path) -> list[tuple[str, int]]:
    """Which checkpoints and model are there now, to see whether any came or went. No other folder is looked into, for
    those of a model that is being replaced go away meanwhile."""
    entries = []
    for entry in [*(saved for stage in STAGES for saved in (path / stage).glob("step-*")), path / MODEL]:
        with suppress(OSError):
            entries.append((str(entry), entry.stat().st_ino))
    return sorted(entries)


def _read(path: Path, averaged: bool, step: int | str | None) -> ModelFolder:
    stores = {stage: Store(path / stage) for stage in STAGES}
    last = stores["distill" if stores["distill"].steps() else "diffusion"]
    if last.steps():
        saved = resolved(last, step) if step is not None else last.newest()
        if saved is not None:
            first = model_folder.read(path / MODEL)
            tensors = {"autoencoder": first.tensors["autoencoder"], **split_denoiser(trained_weights(saved, averaged))}
            classifier = stores["classifier"].newest()
            return _with_classifier(_folder(saved, tensors, f"{averaged}/{first.hash}"), classifier, averaged)
    saved = resolved(stores["autoencoder"], step) if step is not None else stores["autoencoder"].newest()
    if saved is None:
        if model_folder.is_model(path / MODEL):
            return model_folder.read(path / MODEL)
        raise UsageError(f"{path}: nothing saved yet; wait for the first checkpoint")
    weights = trained_weights(saved, averaged)
    if model_folder.is_model(path / MODEL):
        first = model_folder.read(path / MODEL)
        if first.config.trained.get("autoencoder_steps") == saved.step:  # the scale is measured once it is trained
            weights |= {name: first.tensors["autoencoder"][name] for name in SCALES}
    return _folder(saved, {"autoencoder": weights}, f"{averaged}")


def _classifier(path: Path, averaged: bool, step: int | str | None) -> ModelFolder:
    store = Store(path / "classifier")
    saved = resolved(store, step) if step is not None else store.newest()
    if saved is None:
        raise LatentryError(f"{path}: every checkpoint of the classifier is damaged. Train that stage again.")
    beside = _read(path, averaged, None)  # what else the run says of the model, such as its noise schedule
    alone = replace(beside, tensors={"autoencoder": beside.tensors["autoencoder"]}, hash="", step=saved.step)
    return _with_classifier(alone, saved, averaged)


def _folder(saved: Saved, tensors: Mapping[str, Mapping[str, Tensor]], chosen: str) -> ModelFolder:
    """chosen: what else decides which weights these are. How it samples stands in the recipe, where it may change."""
    made_of = f"{chosen}/{model_folder.weights_hash(saved.path)}".encode()
    recipe = read_recipe(saved.path.parents[1])
    said = recipe["distill"] if saved.path.parent.name == "distill" else recipe
    tree = saved.state["model"] | ({"sample": said["sample"]} if "sample" in said else {})
    options = config.validate(ModelConfig, tree, str(saved.path))
    name = hashlib.sha256(made_of).hexdigest()[:12]
    return ModelFolder(options, tensors, saved.state["texts"], hash=name, step=saved.step)


def _with_classifier(model: ModelFolder, saved: Saved | None, averaged: bool) -> ModelFolder:
    """The model with the classifier that was trained beside it, which is of no other denoiser than its latents are."""
    if saved is None:
        return model
    options = config.validate(ModelConfig, saved.state["model"], str(saved.path)).classifier
    made_of = f"{model.hash}/{averaged}/{model_folder.weights_hash(saved.path)}".encode()
    return replace(
        model,
        config=model.config.model_copy(update={"classifier": options}),
        tensors={**model.tensors, "classifier": trained_weights(saved, averaged)},
        hash=hashlib.sha256(made_of).hexdigest()[:12],
    )


def read_recipe(path: Path) -> dict[str, Any]:
    """The resolved recipe of a run, as plain data."""
    return config.parse_yaml(text.read(path / RECIPE), str(path / RECIPE))
