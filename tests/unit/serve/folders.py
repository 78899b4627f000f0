"""Runs as a training leaves them on disk, without training."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from PIL import Image

from latentry import config

STEPS = 400


def write_run(path: Path, *, grids: int = 3) -> Path:
    """A run in the middle of its second stage."""
    (path / "samples").mkdir(parents=True)
    train = {"steps": STEPS, "batch": 8}
    tree = {"name": "tiny", "autoencoder": {"train": train}, "diffusion": {"train": train}}
    (path / "recipe.yaml").write_text(config.dump_yaml(tree))
    add_rows(path, "autoencoder", range(10, STEPS + 1, 10))
    add_rows(path, "diffusion", range(10, STEPS // 2 + 1, 10))
    held_out = {"stage": "diffusion", "step": STEPS // 2, "held_out_error": 0.5, "lr": 1e-4, "time": time.time()}
    add(path / "log.jsonl", held_out)
    warning = f"diffusion: warning at step 100: overfitting, see {path}/log.jsonl"
    add(path / "events.jsonl", {"stage": "diffusion", "step": 100, "event": warning, "time": time.time()})
    goes_on = "diffusion: goes on from step 50"
    add(path / "events.jsonl", {"stage": "diffusion", "step": 50, "event": goes_on, "time": time.time()})
    for number in range(grids):
        add_grid(path, "diffusion", 50 * (number + 1), 40 * number)
    add_grid(path, "autoencoder", 200, 255)
    return path


def add_rows(path: Path, stage: str, steps: Any) -> None:
    """Rows of the log."""
    for step in steps:
        row = {"loss": 100 / (step + 100), "error": 90 / (step + 100), "lr": 1e-4, "images_per_second": 40.0}
        add(path / "log.jsonl", {"stage": stage, "step": step, **row, "time": time.time()})


def add(file: Path, row: dict[str, Any]) -> None:
    """One row."""
    with file.open("a") as lines:
        lines.write(json.dumps(row) + "\n")


def add_grid(path: Path, stage: str, step: int, grey: int) -> None:
    """A sheet of samples, all of one grey."""
    Image.new("RGB", (68, 68), (grey, grey, grey)).save(path / "samples" / f"{stage}-{step:07d}.png")
