"""Runs and reports side by side: a row for each figure that any of them has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latentry import __version__, config
from latentry.checkpoints import durable
from latentry.checkpoints.run_folder import is_run, read_recipe
from latentry.data.options import DataOptions
from latentry.errors import LatentryError, UsageError
from latentry.evaluation import result
from latentry.evaluation.figures import read_figures
from latentry.evaluation.report import pieces
from latentry.evaluation.report.page import PAGE, interval, run_of, training_curves
from latentry.evaluation.report.plots import Points, curves
from latentry.metrics.compare import Figure


@dataclass(frozen=True)
class Side:
    """One of what is compared. name: as it is shown. run: whose log has its training, if there is one. images: their
    height, width and channels; None where nothing says them, as of a folder of pictures."""

    name: str
    figures: tuple[Figure, ...]
    run: Path | None
    images: tuple[int, int, int] | None = None


def sides(paths: Sequence[Path]) -> list[Side]:
    """What each run or report holds. Raises UsageError for fewer than two, for a folder with neither, and for images of
    other sizes or channels, whose figures say nothing beside each other."""
    if len(paths) < 2:
        raise UsageError(f"compare: {len(paths)} run; at least 2 runs or reports are needed. Name another one.")
    found = [_side(path) for path in paths]
    known = [side for side in found if side.images is not None]
    for side in known:
        if side.images != known[0].images:
            one, other = (f"{s.name}: {_told(s.images)}" for s in (known[0], side) if s.images is not None)
            raise UsageError(
                f"compare: {one}, {other}; accepted: images of one size and as many channels. Figures of others say "
                "nothing beside each other: compare those that are alike."
            )
    return found


def rows(found: Sequence[Side]) -> list[list[str]]:
    """Name and the values with their intervals, in the order they first come in; "" where one is missing."""
    names = dict.fromkeys(figure.name for side in found for figure in side.figures)
    known = [{figure.name: figure for figure in side.figures} for side in found]
    return [[name, *(_cell(figures.get(name)) for figures in known)] for name in names]


def page(found: Sequence[Side]) -> str:
    """HTML of the comparison."""
    logs = {side.name: training_curves(side.run) for side in found}
    kinds = dict.fromkeys(kind for of_side in logs.values() for kind in of_side)
    drawn = []
    for stage, number in kinds:
        lines: dict[str, Points] = {name: log[stage, number] for name, log in logs.items() if (stage, number) in log}
        drawn.append(curves(f"{stage}: {number}", lines))
    return pieces.document(
        "latentry: comparison",
        (
            "<header><h1>Side by side</h1></header>",
            pieces.section("Figures", pieces.table(("figure", *(side.name for side in found)), rows(found))),
            pieces.section("Training", f'<div class="plots">{"".join(drawn)}</div>' if drawn else ""),
        ),
        f"latentry {__version__}",
    )


def write(folder: Path, found: Sequence[Side]) -> Path:
    """The page into a folder, which is made; its path. Raises LatentryError where it cannot be written."""
    target, words = folder / PAGE, page(found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        durable.replace_file(target, words)
    except OSError as error:
        raise durable.explain(error, target, len(words)) from error
    return target


def _side(path: Path) -> Side:
    if (path / result.JSON).is_file():
        evaluation = result.read(path)
        model = evaluation.model
        images = (*model["size"], model["channels"]) if {"size", "channels"} <= model.keys() else None
        return Side(str(path), evaluation.figures, run_of(evaluation.source), images)
    if not is_run(path):
        raise UsageError(f"{path}: neither a run nor a report of `latentry evaluate`. Name one of these folders.")
    measured = read_figures(path)
    if measured is None:
        raise LatentryError(f"{path}: has no figures yet. Finish it with the same `latentry train`, or evaluate it.")
    numbers = {name: value for name, value in measured.items() if isinstance(value, int | float)}
    data = config.validate(DataOptions, read_recipe(path).get("data", {}), str(path))
    figures = tuple(Figure(name, float(value), 0, 0) for name, value in numbers.items())
    return Side(str(path), figures, path, (*data.height_width, data.channels))


def _told(images: tuple[int, int, int]) -> str:
    height, width, channels = images
    return f"{height}x{width} with {channels} {'channel' if channels == 1 else 'channels'}"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    around = interval(figure)
    return f"{figure.value:.5g}" + (f" ({around})" if around else "")
