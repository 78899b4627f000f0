"""From a path to a model's networks, on the CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from latentry.checkpoints import model_folder, run_folder
from latentry.checkpoints.diffusers import is_diffusers
from latentry.checkpoints.model_folder import ModelFolder
from latentry.checkpoints.tensors import misfit
from latentry.devices import without_weights
from latentry.errors import LatentryError, UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.models.classifier import LatentClassifier
from latentry.models.model import Model
from latentry.pipeline import foreign

Weights = Literal["ema", "raw"]
LOOKED_AT = 16  # numbers of each tensor


def read(
    folder: Path,
    config: str | Path | None = None,
    weights: Weights = "ema",
    step: int | str | None = None,
    vocabulary: str | Path | None = None,
    *,
    classifier: bool = False,
) -> ModelFolder:
    """What a run, a model folder or a foreign checkpoint holds; arguments and errors as of `load`.

    classifier: of a run that stage alone, of which `step` then is.
    """
    if not folder.exists():
        raise UsageError(f"{folder}: no such file or folder; give a run, a model folder or a checkpoint")
    if run_folder.is_run(folder):
        return run_folder.read(folder, averaged=weights == "ema", step=step, classifier=classifier)
    foreign.refuse_step(folder, step)
    if model_folder.is_model(folder):
        unused = "unet" if weights == "raw" else "unet_raw"
        if weights == "raw" and not model_folder.has(folder, "unet_raw"):
            raise UsageError(f"{folder}: a model folder without raw weights; they are in the run it came from")
        return model_folder.read(folder, without=(unused, "objective"))
    if folder.is_file() or is_diffusers(folder):
        kept: Literal["raw", "both"] = "raw" if weights == "raw" else "both"  # both: the averages, if there are any
        return foreign.import_model(folder, config, weights=kept, vocabulary=vocabulary)
    raise UsageError(
        f"{folder}: neither a run nor a model folder (no recipe.yaml, no model.yaml), nor one of diffusers; "
        "give one that `latentry train` or `latentry import` made"
    )


def networks(model: ModelFolder, source: str) -> Model:
    """Modules with these weights, ready to use. Of raw and averaged weights it takes the averaged."""
    config = model.config
    with without_weights():  # the weights come from the files: no time is spent on first ones
        autoencoder = Autoencoder(config.autoencoder, config.data.channels)
        denoiser = None if config.diffusion is None else build_denoiser(config, model.texts, autoencoder)
    _fill(autoencoder, model.tensors.get("autoencoder", {}), f"{source}: autoencoder")
    classifier = _classifier(model, autoencoder.latent_channels, source)
    unet = model.tensors.get("unet", model.tensors.get("unet_raw"))
    if denoiser is None or unet is None:
        return Model(config, autoencoder.eval(), None, classifier)
    _fill(denoiser.unet, unet, f"{source}: unet")
    rest = model.tensors.get("conditioning", {})
    _fill(denoiser, {f"unet.{k}": v for k, v in unet.items()} | dict(rest), f"{source}: conditioning")
    return Model(config, autoencoder.eval(), denoiser.eval(), classifier)


def _classifier(model: ModelFolder, latent_channels: int, source: str) -> LatentClassifier | None:
    """The classifier of a model that has one."""
    options, tensors = model.config.classifier, model.tensors.get("classifier")
    if options is None or tensors is None:
        return None
    with without_weights():
        classifier = LatentClassifier(options, latent_channels)
    _fill(classifier, tensors, f"{source}: classifier")
    return classifier.eval().requires_grad_(False)


def hash_of(model: ModelFolder) -> str:
    """Twelve hexadecimal digits: of its manifest; for a checkpoint of another program, which has none, of a few numbers
    of each tensor, which any training changes, so that a file of gigabytes is not read for it."""
    if model.hash:
        return model.hash
    digest = hashlib.sha256()
    for group in sorted(model.tensors):
        for name, tensor in sorted(model.tensors[group].items()):
            some = tensor.reshape(-1)[:LOOKED_AT].double().tolist()
            digest.update(repr((group, name, tuple(tensor.shape), some)).encode())
    return digest.hexdigest()[:12]


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Exactly the module's tensors, with its shapes, in its precision; else one line that names the first other."""
    if wrong := misfit(module, tensors):
        name, shape, expected = wrong
        raise LatentryError(
            f"{what}: {name}: found {shape}, model.yaml asks for {expected}. The weights belong to another model."
        )
    own: dict[str, Any] = module.state_dict()
    module.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in tensors.items()}, assign=True)
