"""Runs and reports side by side: their figures, pictures and curves, and every setting that they do not share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from latentry import __version__
from latentry.checkpoints import durable
from latentry.evaluation.report import pieces
from latentry.evaluation.report.page import PAGE, interval, training_curves
from latentry.evaluation.report.plots import Points, curves
from latentry.evaluation.report.sides import Side
from latentry.metrics.compare import Figure


def rows(found: Sequence[Side]) -> list[list[str]]:
    """Name and the values with their intervals, in the order they first come in; "" where one is missing. Numbers of
    images are told where they are not the same."""
    names = dict.fromkeys(figure.name for side in found for figure in side.figures)
    known = [{figure.name: figure for figure in side.figures} for side in found]
    lines = []
    for name in names:
        figures = [of_side.get(name) for of_side in known]
        counts = {figure.images for figure in figures if figure is not None and figure.images}
        lines.append([name, *(_cell(figure, counted=len(counts) > 1) for figure in figures)])
    return lines


def differences(found: Sequence[Side]) -> list[list[str]]:
    """Name and values of each setting or fact that is not the same of all who have its kind: a shipped model without a
    recipe says nothing of the recipes of others."""
    lines = []
    for kind in dict.fromkeys(kind for side in found for kind in side.facts):
        known = [side.facts[kind] for side in found if kind in side.facts]
        names = dict.fromkeys(name for facts in known for name in facts)
        others = [name for name in names if len({str(facts.get(name, "")) for facts in known}) > 1]
        lines += [[name, *(str(side.facts.get(kind, {}).get(name, "")) for side in found)] for name in others]
    return lines


def page(found: Sequence[Side]) -> str:
    """HTML of the comparison."""
    columns = [side.name for side in found]
    return pieces.document(
        "latentry: comparison",
        (
            "<header><h1>Side by side</h1></header>",
            pieces.section("Figures", pieces.table(("figure", *columns), rows(found))),
            pieces.section("Pictures", _pictures(found)),
            pieces.section("Training", _training(found)),
            pieces.section("What is not the same", pieces.table(("setting", *columns), differences(found))),
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


def _pictures(found: Sequence[Side]) -> str:
    """Those of each name beside each other."""
    names = dict.fromkeys(name for side in found for name in side.pictures)
    sheets = (
        "".join(
            pieces.picture(side.pictures[name], f"{name} of {side.name}") for side in found if name in side.pictures
        )
        for name in names
    )
    return "".join(f'<div class="sheet">{sheet}</div>' for sheet in sheets)


def _training(found: Sequence[Side]) -> str:
    """A plot for each number of a stage, with the curves of all that have it."""
    logs = {side.name: training_curves(side.run) for side in found}
    drawn = []
    for stage, number in dict.fromkeys(kind for of_side in logs.values() for kind in of_side):
        lines: dict[str, Points] = {name: log[stage, number] for name, log in logs.items() if (stage, number) in log}
        drawn.append(curves(f"{stage}: {number}", lines))
    return f'<div class="plots">{"".join(drawn)}</div>' if drawn else ""


def _cell(figure: Figure | None, *, counted: bool) -> str:
    if figure is None:
        return ""
    around = interval(figure)
    words = f"{figure.value:.5g}" + (f" ({around})" if around else "")
    return f"{words}, {figure.images} images" if counted and figure.images else words
