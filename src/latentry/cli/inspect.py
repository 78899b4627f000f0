"""`latentry inspect`: what a model or run is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from latentry.cli.output import JSON, emit_json, say
from latentry.errors import UsageError


def inspect(
    path: Annotated[Path, typer.Argument(help="A model folder or a run folder.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Say what a model or run is: its parts, their sizes, how far it is trained, how it samples."""
    from latentry import pipeline
    from latentry.checkpoints import progress, run_folder
    from latentry.config import dump_yaml

    described: dict[str, Any] = {"run": progress.describe(path)} if run_folder.is_run(path) else {}
    try:
        described |= pipeline.load(path).describe()
    except UsageError:
        if not described:  # a run has something to say before its first checkpoint
            raise
    if as_json:
        emit_json(described)
    else:
        say(dump_yaml(described).rstrip())
