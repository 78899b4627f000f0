"""How far a run is: read by `latentry inspect`, also while it trains."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from latentry import text
from latentry.checkpoints.best import best_of
from latentry.checkpoints.run_folder import RECIPE, read_recipe
from latentry.checkpoints.store import Store
from latentry.errors import LatentryError

LONGEST_LOG = 2**30 - 1  # bytes


def run_status(path: Path) -> dict[str, Any]:
    """Each stage's checkpoints and newest row of the log, and the figures measured at the end.

    damaged: what could not be read, in words, where there is any. Raises LatentryError for a damaged recipe.
    """
    damaged: list[str] = []
    recipe, last = read_recipe(path), _last_rows(path / "log.jsonl", damaged)
    status: dict[str, Any] = {"recipe": recipe.get("name"), "made_with": recipe.get("made_with") or {}}
    parts = {name: part.get("train") for name, part in recipe.items() if isinstance(part, dict)}
    sections = {name: training for name, training in parts.items() if isinstance(training, dict)}
    if not sections:
        raise LatentryError(f"{path / RECIPE}: has no stage; it is damaged. Give the same recipe with another --out.")
    for stage, training in sections.items():
        steps = Store(path / stage).steps()
        if steps or stage in last:
            of = training.get("steps")
            status[stage] = {"steps": of, "checkpoints": steps, "last": last.get(stage, {})}
            if best := best_of(Store(path / stage)):
                status[stage]["best"] = {"step": best.step, "by": best.by}
    if (path / "figures.json").exists():
        try:
            status["figures"] = json.loads(text.read(path / "figures.json"))
        except (LatentryError, ValueError, RecursionError):
            damaged.append("figures.json; the same `latentry train` measures them again")
    return status | ({"damaged": damaged} if damaged else {})


def _last_rows(path: Path, damaged: list[str]) -> dict[str, dict[str, Any]]:
    """The newest row of losses of each stage."""
    rows: dict[str, dict[str, Any]] = {}
    try:
        lines = text.read_bytes(path, LONGEST_LOG).splitlines() if path.exists() else []
    except LatentryError as error:
        damaged.append(str(error).removeprefix(f"{path.parent}/"))
        return rows
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, RecursionError):  # the last line may be half written
            row = json.loads(line)
            if "loss" in row:
                rows[str(row.pop("stage"))] = row
    return rows
