"""`latentry inspect`: what a model, run or checkpoint is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from latentry.cli.output import JSON, emit_json, say
from latentry.errors import UsageError


def inspect(
    path: Annotated[Path, typer.Argument(help="A run, a model folder, a checkpoint, or a folder of diffusers.")],
    config: Annotated[str | None, typer.Option(help="A checkpoint's YAML; default: the one beside it.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Say what a model, run or checkpoint is: its parts, their sizes, how far it is trained, how it samples."""
    from latentry import pipeline
    from latentry.checkpoints import run_folder
    from latentry.checkpoints.run_status import run_status
    from latentry.config import dump_yaml
    from latentry.pipeline.inspecting import inspect_path

    if run_folder.is_run(path):
        described: dict[str, Any] = {"run": run_status(path)}
        with suppress(UsageError):  # a run has something to say before its first checkpoint
            described |= pipeline.load(path, device="cpu").describe()
    else:
        described = inspect_path(path, config)
    if as_json:
        emit_json(described)
    else:
        say(dump_yaml(described).rstrip())
