"""`latentry study`: a command for each study, and one that tells what any of them found."""

from __future__ import annotations

from collections.abc import Callable

import typer

from latentry.cli.study.compression import compression
from latentry.cli.study.preference import preference
from latentry.cli.study.report import report
from latentry.study import STUDIES

COMMANDS: dict[str, Callable[..., None]] = {"compression": compression, "preference": preference}
"""For each name of STUDIES what makes such a study, or goes on with it."""

app = typer.Typer(help="Studies: what many people, or many trainings, tell.", no_args_is_help=True)
for name, command in COMMANDS.items():
    app.command(name, help=STUDIES[name].help)(command)
app.command()(report)
