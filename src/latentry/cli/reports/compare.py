"""`latentry compare`: runs or reports side by side, in the terminal and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentry.cli.output import JSON, emit_json, say, table


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more runs, or reports of `latentry evaluate`.")],
    out: Annotated[Path | None, typer.Option(help="A folder for the page, index.html.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show the figures of runs or reports side by side."""
    from rich.markup import escape

    from latentry.evaluation.report.compare import rows, write
    from latentry.evaluation.report.sides import sides
    from latentry.evaluation.result import refuse_unwritable

    target = None if out is None else refuse_unwritable(out)
    found = sides(runs)
    page = None if target is None else write(target, found)
    if as_json:
        emit_json({side.name: {figure.name: figure.value for figure in side.figures} for side in found})
        return
    table(["figure", *(escape(side.name) for side in found)], [[escape(cell) for cell in row] for row in rows(found)])
    if page is not None:
        say(f"page in {page}")
