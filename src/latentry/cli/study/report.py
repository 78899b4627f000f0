"""`latentry study report`: what a study found so far."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from latentry.cli.output import JSON, emit_json, say, table

FILE = "report.json"


def report(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The folder of a study.")],
    out: Annotated[Path | None, typer.Option(help=f"Where to write it as JSON; default: {FILE} in the study.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Tell what a study found so far, and write it down as JSON."""
    from latentry.checkpoints.durable import replace_file
    from latentry.study import report as found

    findings = found(folder)
    replace_file(out or folder / FILE, json.dumps(findings.plain, indent=1) + "\n")
    if as_json:
        emit_json(findings.plain)
        return
    for one in findings.tables:
        table(one.columns, one.rows)
        say("")
    for line in findings.lines:
        say(line)
