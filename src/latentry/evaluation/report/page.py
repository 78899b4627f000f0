"""The report of an evaluation as one page."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from latentry import __version__, text
from latentry.checkpoints import durable
from latentry.checkpoints.run_folder import RECIPE, is_run
from latentry.errors import LatentryError
from latentry.evaluation.report import pieces
from latentry.evaluation.report.plots import Points, curves
from latentry.evaluation.result import Evaluation
from latentry.metrics.compare import Figure

PAGE = "index.html"
LONGEST_LOG = 2**30 - 1
SHOWN_CURVES = {"autoencoder": ("pixel", "loss"), "diffusion": ("error", "loss"), "classifier": ("loss",)}
"""Of each stage the numbers of the log that say most; the first that it has is drawn."""
MOST_POINTS = 500


def page(evaluation: Evaluation, pictures: Mapping[str, bytes] | None = None, ahead: Sequence[str] = ()) -> str:
    """HTML of an evaluation. pictures: PNG by what they show. ahead: sections, as of `pieces`, that come first."""
    run = run_of(evaluation.source)
    sheets = "".join(pieces.picture(content, name) for name, content in (pictures or {}).items())
    return pieces.document(
        f"latentry: {evaluation.of}",
        (
            f"<header><h1>{html.escape(evaluation.of)}</h1>",
            pieces.paragraph(f"measured against {evaluation.against}", "soft"),
            "</header>",
            *ahead,
            pieces.section("Figures", figures_table(evaluation.figures), of_few(evaluation.figures)),
            pieces.section("Pictures", f'<div class="sheet">{sheets}</div>' if sheets else ""),
            pieces.section("Nearest training images", nearest_table(evaluation.nearest)),
            pieces.section("Training", plots(run)),
            pieces.section("What to know", *(pieces.paragraph(note) for note in evaluation.notes)),
            pieces.section("Model", pieces.facts(evaluation.model)),
            pieces.section("How images were read", pieces.facts(evaluation.preprocessing)),
            pieces.section("Settings", pieces.facts(evaluation.settings)),
            pieces.section("Machine and versions", pieces.facts({**evaluation.hardware, **evaluation.versions})),
            pieces.section("Recipe", pieces.folded("every setting of the training", recipe(run))),
        ),
        f"latentry {__version__}; the same numbers are in evaluation.json and evaluation.csv.",
    )


def write(folder: Path, evaluation: Evaluation, ahead: Sequence[str] = ()) -> Path:
    """The page of an evaluation, with the pictures of its folder, beside its JSON. ahead: as of `page`.

    Raises LatentryError where it cannot be written.
    """
    target = folder / PAGE
    words = page(evaluation, pictures_of(folder, evaluation), ahead)
    try:
        durable.replace_file(target, words)
    except OSError as error:
        raise durable.explain(error, target, len(words)) from error
    return target


def pictures_of(folder: Path, evaluation: Evaluation) -> dict[str, bytes]:
    """PNG by what they show; those that are not in the folder any more are left out."""
    found = {}
    for name, file in evaluation.pictures.items():
        with suppress(LatentryError, OSError):
            found[name] = (folder / file).read_bytes()
    return found


def figures_table(figures: tuple[Figure, ...]) -> str:
    rows = (
        (
            f.name,
            f"{f.value:.5g}",
            interval(f),
            str(f.images),
            str(f.reference or ""),
            "few images" if f.warning else "",
        )
        for f in figures
    )
    return pieces.table(("figure", "value", "95%", "images", "reference", ""), rows, frozenset({1, 2, 3, 4}))


def of_few(figures: Sequence[Figure]) -> str:
    """What is to be known of figures of too few images: the first of it, and the rest where it is asked for."""
    first, *others = dict.fromkeys(figure.warning for figure in figures if figure.warning) or [""]
    rest = pieces.folded(f"{len(others)} more of this kind", "\n".join(others))
    return pieces.paragraph(first, "warning") + rest


def nearest_table(pairs: Sequence[Mapping[str, Any]]) -> str:
    """A row for each pair of a sample and the training image nearest to it."""
    words = {True: "yes", False: ""}
    rows = [[words[x] if isinstance(x, bool) else str(x) for x in pair.values()] for pair in pairs]
    return pieces.table(tuple(pairs[0]) if pairs else (), rows)


def interval(figure: Figure) -> str:
    return "" if figure.interval is None else f"{figure.interval[0]:.5g} to {figure.interval[1]:.5g}"


def run_of(source: str) -> Path | None:
    """The run that a model is of: itself, or the folder that it lies in."""
    path = Path(source) if source else None
    return None if path is None else next((one for one in (path, path.absolute().parent) if is_run(one)), None)


def recipe(run: Path | None) -> str:
    """The run's recipe; "" where there is none to be read."""
    with suppress(LatentryError):
        return text.read(run / RECIPE) if run else ""
    return ""


def plots(run: Path | None) -> str:
    """A curve for each stage that the run has a log of."""
    drawn = [curves(f"{stage}: {key}", {stage: points}) for (stage, key), points in training_curves(run).items() if run]
    return f'<div class="plots">{"".join(drawn)}</div>' if drawn else ""


def training_curves(run: Path | None) -> dict[tuple[str, str], Points]:
    """By stage and number: (step, value) of the log, at most MOST_POINTS of them."""
    rows = [row for row in _rows(run) if isinstance(row.get("step"), int)]
    found: dict[tuple[str, str], Points] = {}
    for stage, keys in SHOWN_CURVES.items():
        of_stage = [row for row in rows if row.get("stage") == stage]
        for key in keys:
            points = [(row["step"], row[key]) for row in of_stage if isinstance(row.get(key), int | float)]
            if len(points) > 1:
                found[stage, key] = points[:: -(-len(points) // MOST_POINTS)]
                break
    return found


def _rows(run: Path | None) -> list[dict[str, Any]]:
    rows = []
    with suppress(LatentryError):
        for line in text.read_bytes(run / "log.jsonl", LONGEST_LOG).splitlines() if run else ():
            with suppress(ValueError, RecursionError):  # the last line may be half written
                row = json.loads(line)
                rows += [row] if isinstance(row, dict) else []
    return rows
