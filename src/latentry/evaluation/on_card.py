"""Figures of an evaluation on the card of the model that it measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from latentry.checkpoints import model_folder
from latentry.checkpoints.lock import RunLock
from latentry.checkpoints.run_folder import MODEL, is_run
from latentry.errors import UsageError
from latentry.evaluation.card import table
from latentry.evaluation.figures import read_figures, write_figures
from latentry.evaluation.result import Evaluation
from latentry.metrics.compare import Figure

TITLE, RULE = "## Figures", "| --- | --- |"
BEFORE = ("## Use", "## Limits", "Use: ")
"""What a card goes on with after its figures."""


def refuse_other(model: Path, chosen: Mapping[str, object]) -> None:
    """Raise UsageError where no card says what is measured. chosen: raw weights or a step, by option, if asked for."""
    folder = _folder(model)
    if not model_folder.is_model(folder):
        raise UsageError(f"card: {model} has no model folder, and so no card. Leave it out, or name one that has.")
    if is_run(model) and read_figures(model) is None:
        raise UsageError(f"card: {model} is not trained to its end. Finish it with the same `latentry train`.")
    for option, value in chosen.items():
        if value is not None:
            raise UsageError(f"card: is of the finished model's averaged weights. Leave --{option} {value} out.")


def write(model: Path, evaluation: Evaluation) -> None:
    """Every figure as a row of the card, in place of those of the same name; a run's figures.json has them too."""
    rows, folder = rows_of(evaluation), _folder(model)
    if not is_run(model):
        model_folder.replace_card(folder, with_rows(model_folder.read(folder, weights=False).card, rows))
        return
    with RunLock(model):
        write_figures(model, {**(read_figures(model) or {}), **rows})
        model_folder.replace_card(folder, with_rows(model_folder.read(folder, weights=False).card, rows))


def rows_of(evaluation: Evaluation) -> dict[str, str]:
    """What the card says: value, interval, and of how many images."""
    return {_name(figure): _value(figure) for figure in evaluation.figures}


def with_rows(card: str, rows: Mapping[str, str]) -> str:
    """A card with these rows in the table of its figures, which is made where there is none."""
    new = table(rows).splitlines()[2:]
    lines = card.splitlines()
    if TITLE not in lines:
        at = next((i for i, line in enumerate(lines) if line.startswith(BEFORE)), len(lines))
        lines[at:at] = [TITLE, "", "| | |", RULE, ""]
    start = lines.index(TITLE)
    if RULE not in lines[start:]:
        lines[start + 1 : start + 1] = ["", "| | |", RULE]
    first = lines.index(RULE, start) + 1
    end = next((i for i in range(first, len(lines)) if not lines[i].startswith("|")), len(lines))
    names = {line.split(" | ")[0] for line in new}
    kept = [line for line in lines[first:end] if line.split(" | ")[0] not in names]
    return "\n".join([*lines[:first], *kept, *new, *lines[end:]]) + "\n"


def _name(figure: Figure) -> str:
    return figure.name.replace("copies[", "samples that are copies of training images [").replace(
        "copies among held-out images[", "the same of held-out images, which are none ["
    )


def _value(figure: Figure) -> str:
    shares = figure.name.startswith("copies")
    value, *around = (f"{x:.2%}" if shares else f"{x:.4g}" for x in (figure.value, *(figure.interval or ())))
    interval = f" ({' to '.join(around)})" if around else ""
    few = ", few images" if figure.warning else ""
    return f"{value}{interval}, {figure.images} images{few}"


def _folder(model: Path) -> Path:
    return model / MODEL if is_run(model) else model
