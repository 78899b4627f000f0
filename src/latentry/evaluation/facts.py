"""What an evaluation says of the model, the programs and the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentry import __version__, devices
from latentry.checkpoints.run_folder import is_run, read_recipe
from latentry.errors import LatentryError
from latentry.evaluation.card import minutes_of
from latentry.pipeline import Pipeline


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    return {
        "latentry": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def hardware(device: torch.device, processes: int) -> dict[str, str]:
    """Where it was measured."""
    return {
        "device": devices.described(device),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "processes": str(processes),
    }


def model_facts(pipe: Pipeline, path: Path) -> dict[str, Any]:
    """Parameters, and what is known of the training (the paper's table 18): steps, images seen, minutes of each stage.

    path: where the model was opened; its run, where there is one, knows the minutes.
    """
    described = pipe.describe()
    kept = ("name", "hash", "size", "channels", "depth", "first_stage", "factor", "latent_channels")
    facts: dict[str, Any] = {name: described[name] for name in kept}
    facts["parameters"] = {**described["parameters"], "all": sum(described["parameters"].values())}
    if pipe.denoiser is not None:
        facts["sampling"] = pipe.config.sample.model_dump(mode="json", exclude_none=True)
    return {**facts, "trained": dict(pipe.config.trained), **_compute(path)}


def _compute(path: Path) -> dict[str, Any]:
    """Of each stage's training, as far as the run's log and recipe say."""
    run = path if is_run(path) else path.absolute().parent
    if not is_run(run):
        return {}
    try:
        recipe = read_recipe(run)
    except LatentryError:
        return {}
    sections = {name: part["train"] for name, part in recipe.items() if isinstance(part, Mapping) and "train" in part}
    batches = {name: int(train.get("batch", 0)) for name, train in sections.items() if isinstance(train, Mapping)}
    minutes = minutes_of(run / "log.jsonl", batches)
    known: dict[str, Any] = {"minutes": {name: round(value, 2) for name, value in minutes.items()}} if minutes else {}
    return {**known, "batch": {name: batch for name, batch in batches.items() if name in minutes}} if known else {}
