"""Open a run or a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from latentry.checkpoints import model_folder, run_folder
from latentry.checkpoints.model_folder import ModelFolder
from latentry.errors import LatentryError, UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.pipeline.pipeline import Pipeline

Weights = Literal["ema", "raw"]


def load(path: str | Path, *, weights: Weights = "ema", step: int | None = None) -> Pipeline:
    """Open what `train` made.

    path: a model folder, or a run (its newest good checkpoint, or that of `step`; averaged or raw weights).
    Raises UsageError for what is neither, LatentryError for what is damaged.
    """
    folder = Path(path)
    if not folder.exists():
        raise UsageError(f"{folder}: no such file or folder; give a run or a model folder")
    if run_folder.is_run(folder):
        return assemble(run_folder.read(folder, averaged=weights == "ema", step=step), str(folder))
    if model_folder.is_model(folder):
        if weights != "ema" or step is not None:
            raise UsageError(
                f"{folder}: a model folder holds one set of weights; step and raw weights need the run it came from"
            )
        return assemble(model_folder.read(folder), str(folder))
    raise UsageError(
        f"{folder}: neither a run nor a model folder (no recipe.yaml, no model.yaml); "
        "give one that `latentry train` made"
    )


def assemble(model: ModelFolder, source: str) -> Pipeline:
    """Modules with the given weights, ready to use."""
    config = model.config
    autoencoder = Autoencoder(config.autoencoder, config.data.channels)
    _fill(autoencoder, model.tensors.get("autoencoder", {}), f"{source}: autoencoder")
    denoiser = None
    if config.diffusion is not None and "unet" in model.tensors:
        denoiser = build_denoiser(config, model.texts)
        _fill(denoiser.unet, model.tensors["unet"], f"{source}: unet")
        rest = model.tensors.get("conditioning", {})
        state = {f"unet.{k}": v for k, v in model.tensors["unet"].items()} | dict(rest)
        _fill(denoiser, state, f"{source}: conditioning")
    return Pipeline(config, autoencoder, denoiser, model_hash=model.hash, source=source)


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Exactly the module's tensors, with its shapes; else one line that names the first that differs."""
    own = module.state_dict()
    for name in [*own, *(n for n in tensors if n not in own)]:
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        wanted = tuple(own[name].shape) if name in own else "nothing of that name"
        if found != wanted:
            raise LatentryError(
                f"{what}: {name}: found {found}, model.yaml asks for {wanted}. The weights belong to another model."
            )
    module.load_state_dict(dict(tensors))
