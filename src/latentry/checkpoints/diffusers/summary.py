"""What a folder of diffusers holds, from its configs and the headers of its weight files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentry.checkpoints.diffusers import autoencoder
from latentry.checkpoints.diffusers.files import CONFIG, ENCODER, INDEX, NETWORK, SCHEDULER, count_parameters, read_json
from latentry.checkpoints.diffusers.pipelines import PIPELINES


def summary(path: Path) -> dict[str, Any]:
    """Plain values; no weights are loaded, and the model need not be one that we can read.

    class: of the pipeline, or of the one component. latent_scale: by which latents are multiplied, None where no first
    stage is known. components: by folder, each with class, config without its underscored keys, and the number of
    parameters where there is a weight file.
    """
    if not (path / INDEX).is_file():
        one = _component(path, "")
        return {"class": one["class"], "latent_scale": _scale(one), "components": {"": one}}
    index = read_json(path / INDEX)
    parts = {name: entry[1] for name, entry in index.items() if isinstance(entry, list) and entry[0]}
    components = {name: _component(path / name, str(kind)) for name, kind in parts.items() if (path / name).is_dir()}
    kind = str(index.get("_class_name", ""))
    scale = next((_scale(part) for part in components.values() if part["class"] in autoencoder.CLASSES), None)
    if kind in PIPELINES and PIPELINES[kind].condition == "image":
        scale = 1.0  # that pipeline does not read it
    return {"class": kind, "latent_scale": scale, "components": components}


def _component(folder: Path, kind: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name in (CONFIG, SCHEDULER):
        if (folder / name).is_file():
            config = read_json(folder / name)
    summary: dict[str, Any] = {
        "class": config.get("_class_name", kind),
        "config": {key: value for key, value in config.items() if not key.startswith("_")},
    }
    for stem in (NETWORK, ENCODER):
        if any(folder.glob(f"{stem}*.safetensors")) or any(folder.glob(f"{stem}*.bin")):
            summary["parameters"] = count_parameters(folder, stem)
    return summary


def _scale(component: dict[str, Any]) -> float | None:
    if component["class"] not in autoencoder.CLASSES:
        return None
    unsaid: float = autoencoder.CLASSES[component["class"]].read["scaling_factor"]
    return float(component["config"].get("scaling_factor", unsaid))
