"""What stands side by side in a comparison: the figures, pictures, curves and settings of a run or of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latentry import config
from latentry.checkpoints.run_folder import is_run, read_recipe
from latentry.data.options import DataOptions
from latentry.errors import LatentryError, UsageError
from latentry.evaluation import result
from latentry.evaluation.figures import read_figures
from latentry.evaluation.report import pieces
from latentry.evaluation.report.page import pictures_of, run_of
from latentry.metrics.compare import Figure

SHEETS = ("distill", "diffusion", "autoencoder")
"""Stages whose sheets of samples a run may have, the last of them first."""


@dataclass(frozen=True)
class Side:
    """One of what is compared. name: as it is shown. run: whose log has its training, if there is one. images: their
    height, width and channels; None where nothing says them, as of a folder of pictures. pictures: PNG by what they
    show. facts: by their kind, what was asked for, what was measured, the recipe, each by dotted names."""

    name: str
    figures: tuple[Figure, ...]
    run: Path | None
    images: tuple[int, int, int] | None = None
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def sides(paths: Sequence[Path]) -> list[Side]:
    """What each run or report holds. Raises UsageError for fewer than two, for one that is named twice, for a folder
    with neither, and for images of other sizes or channels, whose figures say nothing beside each other."""
    if len(paths) < 2:
        raise UsageError(f"compare: {len(paths)} run; at least 2 runs or reports are needed. Name another one.")
    places = [path.resolve() for path in paths]
    if twice := next((path for path in paths if places.count(path.resolve()) > 1), None):
        raise UsageError(f"compare: {twice} is named twice; accepted: each run or report once. Name another one.")
    found = [_of_report(path) if (path / result.JSON).is_file() else _of_run(path) for path in paths]
    known = [side for side in found if side.images is not None]
    for side in known:
        if side.images != known[0].images:
            one, other = (f"{s.name}: {_told(s.images)}" for s in (known[0], side) if s.images is not None)
            raise UsageError(
                f"compare: {one}, {other}; accepted: images of one size and as many channels. Figures of others say "
                "nothing beside each other: compare those that are alike."
            )
    return found


def _of_report(path: Path) -> Side:
    evaluation = result.read(path)
    model, run = evaluation.model, run_of(evaluation.source)
    images = (*model["size"], model["channels"]) if {"size", "channels"} <= model.keys() else None
    asked = {"measured": evaluation.of, "against": evaluation.against, **evaluation.settings}
    made = {"read": evaluation.preprocessing, **evaluation.hardware, **evaluation.versions}
    facts = _by_kind({"asked": {**asked, **made}, "model": {"model": model} if model else {}, "recipe": _recipe(run)})
    return Side(str(path), evaluation.figures, run, images, pictures_of(path, evaluation), facts)


def _of_run(path: Path) -> Side:
    if not is_run(path):
        raise UsageError(f"{path}: neither a run nor a report of `latentry evaluate`. Name one of these folders.")
    measured = read_figures(path)
    if measured is None:
        raise LatentryError(f"{path}: has no figures yet. Finish it with the same `latentry train`, or evaluate it.")
    numbers = {name: value for name, value in measured.items() if isinstance(value, int | float)}
    data = config.validate(DataOptions, read_recipe(path).get("data", {}), str(path))
    figures = tuple(Figure(name, float(value), 0, 0) for name, value in numbers.items())
    facts = _by_kind({"recipe": _recipe(path)})
    return Side(str(path), figures, path, (*data.height_width, data.channels), _sheet(path), facts)


def _recipe(run: Path | None) -> dict[str, Any]:
    with suppress(LatentryError):
        return {"recipe": read_recipe(run)} if run else {}
    return {}


def _by_kind(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Laid out flat; kinds that are empty are left out."""
    return {kind: dict(pieces.flat(of_kind)) for kind, of_kind in facts.items() if of_kind}


def _sheet(run: Path) -> dict[str, bytes]:
    """The newest sheet of the last stage that has drawn one while it was trained."""
    for stage in SHEETS:
        with suppress(OSError):
            for file in sorted((run / "samples").glob(f"{stage}-*.png"))[-1:]:
                return {"samples": file.read_bytes()}
    return {}


def _told(images: tuple[int, int, int]) -> str:
    height, width, channels = images
    return f"{height}x{width} with {channels} {'channel' if channels == 1 else 'channels'}"
