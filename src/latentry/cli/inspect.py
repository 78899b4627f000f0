"""`latentry inspect`: what a model or run is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentry.cli.output import JSON, emit_json, say


def inspect(
    path: Annotated[Path, typer.Argument(help="A model folder or a run folder.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Say what a model or run is: its parts, their sizes, how it was trained, how it samples."""
    from latentry import pipeline
    from latentry.config import dump_yaml

    described = pipeline.load(path).describe()
    if as_json:
        emit_json(described)
    else:
        say(dump_yaml(described).rstrip())
