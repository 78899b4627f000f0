"""What a folder of diffusers holds, from its configs and the headers of its weight files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentry.checkpoints.diffusers import autoencoder
from latentry.checkpoints.diffusers.files import (
    CONFIG,
    ENCODER,
    INDEX,
    NETWORK,
    SCHEDULER,
    count_parameters,
    part,
    read_json,
)
from latentry.checkpoints.diffusers.pipelines import ALIASES, PIPELINES, SCHEDULER_FOLDER


def summary(path: Path) -> dict[str, Any]:
    """Plain values; no weights are loaded, and the model need not be one that we can read.

    class: of the pipeline, or of the one component. latent_scale: by which latents are multiplied, None where no first
    stage is known. components: by folder, each with class, config without its underscored keys, and the number of
    parameters where there is a weight file.
    """
    if not (path / INDEX).is_file():
        one = _component(path, "", "")
        return {"class": one["class"], "latent_scale": _scale(one), "components": {"": one}}
    index = read_json(path / INDEX)
    parts = {name: entry[1] for name, entry in index.items() if isinstance(entry, list) and entry[0]}
    components = {name: _component(path, name, str(kind)) for name, kind in parts.items() if _is_there(path, name)}
    said = index.get("_class_name", "")
    kind = str(said[-1] if isinstance(said, list) and said else said)
    scale = next((_scale(part) for part in components.values() if part["class"] in autoencoder.CLASSES), None)
    kind = ALIASES.get(kind, kind)
    if kind in PIPELINES and PIPELINES[kind].condition == "image":
        scale = 1.0  # that pipeline does not read it
    return {"class": kind, "latent_scale": scale, "components": components}


def _is_there(path: Path, name: str) -> bool:
    """In a folder of its own, or, as older pipelines have it, beside the index."""
    beside = {"unet": CONFIG, SCHEDULER_FOLDER: SCHEDULER}.get(name)
    return (path / name).is_dir() or (beside is not None and (path / beside).is_file())


def _component(path: Path, name: str, kind: str) -> dict[str, Any]:
    folder = part(path, name)
    named = {SCHEDULER_FOLDER: (SCHEDULER,), "unet": (CONFIG,)}.get(name, (CONFIG, SCHEDULER))
    config: dict[str, Any] = {}
    for file in named:
        if (folder / file).is_file():
            config = read_json(folder / file)
    summary: dict[str, Any] = {
        "class": config.get("_class_name", kind),
        "config": {key: value for key, value in config.items() if not key.startswith("_")},
    }
    for stem in (NETWORK, ENCODER) if name != SCHEDULER_FOLDER else ():
        if any(folder.glob(f"{stem}*.safetensors")) or any(folder.glob(f"{stem}*.bin")):
            summary["parameters"] = count_parameters(folder, stem)
    return summary


def _scale(component: dict[str, Any]) -> float | None:
    if component["class"] not in autoencoder.CLASSES:
        return None
    unsaid: float = autoencoder.CLASSES[component["class"]].read["scaling_factor"]
    return float(component["config"].get("scaling_factor", unsaid))
