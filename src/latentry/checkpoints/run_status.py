"""How far a run is: read by `latentry inspect`, also while it trains."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from latentry.checkpoints.run_folder import read_recipe
from latentry.checkpoints.store import Store


def run_status(path: Path) -> dict[str, Any]:
    """Each stage's checkpoints and newest row of the log, and the figures measured at the end."""
    recipe, last = read_recipe(path), _last_rows(path / "log.jsonl")
    status: dict[str, Any] = {"recipe": recipe.get("name"), "made_with": recipe.get("made_with") or {}}
    sections = {name: part["train"] for name, part in recipe.items() if isinstance(part, dict) and "train" in part}
    for stage, training in sections.items():
        steps = Store(path / stage).steps()
        if steps or stage in last:
            of = training.get("steps")
            status[stage] = {"steps": of, "checkpoints": steps, "last": last.get(stage, {})}
    figures = path / "figures.json"
    if figures.is_file():
        status["figures"] = json.loads(figures.read_text(encoding="utf-8"))
    return status


def _last_rows(path: Path) -> dict[str, dict[str, Any]]:
    """The newest row of losses of each stage."""
    rows: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with suppress(json.JSONDecodeError):  # the last line may be half written
            row = json.loads(line)
            if "loss" in row:
                rows[row.pop("stage")] = row
    return rows
