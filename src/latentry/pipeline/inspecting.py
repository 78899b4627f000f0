"""What a model, checkpoint or folder is, without loading its weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from safetensors import safe_open

from latentry import safe_header
from latentry.checkpoints import diffusers, model_folder
from latentry.checkpoints.compvis.config import Published
from latentry.checkpoints.compvis.locations import CONDITION, FIRST_STAGE, SCHEDULE, UNET
from latentry.checkpoints.foreign import file as foreign_file
from latentry.checkpoints.store import SUFFIX
from latentry.errors import LatentryError, UsageError
from latentry.pipeline.facts import facts
from latentry.pipeline.foreign import published
from latentry.safe_header import BadHeader

PARTS = {
    UNET: "unet (raw)",
    "model_ema.": "unet (averaged)",
    FIRST_STAGE: "first stage",
    CONDITION: "condition",
    "encoder.": "first stage",
    "decoder.": "first stage",
    "quant": "first stage",
    "post_quant": "first stage",
    "loss.": "objective of the first stage",
    **dict.fromkeys(SCHEDULE, "tables of the schedule"),
}
"""What the published keys begin with."""


def inspect_path(path: Path, config: str | None = None) -> dict[str, Any]:
    """Plain values: what it is, its parts and parameters, the scale of its latents, what it can do.

    path: a model folder, a checkpoint (config: its YAML, by default the one beside it) or a folder of diffusers.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; give a run, a model folder or a checkpoint")
    if model_folder.is_model(path):
        return _model(path)
    if path.is_dir() and diffusers.is_diffusers(path):
        return {"source": str(path), "format": "diffusers", **diffusers.summary(path)}
    if path.is_file():
        return _checkpoint(path, config)
    raise UsageError(f"{path}: neither a run, a model folder, a checkpoint nor a folder of diffusers")


def _model(path: Path) -> dict[str, Any]:
    folder = model_folder.read(path, weights=False)
    counts, scale = {}, 1.0
    for file in sorted(path.glob("*" + SUFFIX)):
        try:
            sizes = {name: math.prod(entry.shape) for name, entry in safe_header.read(file).tensors.items()}
        except BadHeader as error:
            raise LatentryError(f"{file}: {error}") from error
        if "latent_scale" in sizes:
            with safe_open(file, "pt") as tensors:
                scale = float(tensors.get_tensor("latent_scale"))
        counts[file.stem] = sum(n for name, n in sizes.items() if name not in ("latent_scale", "latent_shift"))
    described = {"source": str(path), "format": "latentry", "hash": folder.hash, **facts(folder.config)}
    return {**described, "latent_scale": scale, "parameters": counts}


def _checkpoint(path: Path, config: str | None) -> dict[str, Any]:
    file = foreign_file.read(path)  # mapped: nothing is read but the scale
    counts: dict[str, int] = {}
    for name, tensor in file.tensors.items():
        part = next((part for start, part in PARTS.items() if name.startswith(start)), "other")
        counts[part] = counts.get(part, 0) + tensor.numel()
    meaning: Published | None = None
    try:
        meaning = published(path, config)
    except UsageError:
        if config is not None:
            raise
    described: dict[str, Any] = {"source": str(path), "format": f"checkpoint ({file.kind})"}
    described |= {"tensors": len(file.tensors), "parameters": counts, **file.facts}
    if file.dropped:
        described["objects never run"] = list(file.dropped)
    if meaning is None:
        return {**described, "config": "none beside it; give --config YAML to see what it can do"}
    factor = file.tensors.get("scale_factor")
    scale = meaning.scale if factor is None else float(factor)
    if meaning.config.diffusion is None:
        scale = 1.0
    of_model = {name: value for name, value in facts(meaning.config).items() if name != "trained"}
    return {**described, **of_model, "latent_scale": scale, "warnings": list(meaning.warnings)}
