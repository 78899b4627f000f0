"""`latentry export`: a model for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentry.cli.output import JSON, checkpoint, emit_json, one_of, say, warn
from latentry.interrupts import working

FORMATS = ("compvis", "diffusers")


def export_checkpoint(
    model: Annotated[Path, typer.Argument(help="A model folder or a run folder.")],
    *,
    to: Annotated[str, typer.Option("--format", help="compvis (a .ckpt and its YAML) or diffusers (a folder).")],
    out: Annotated[Path, typer.Option(help="Folder, or for compvis also a .ckpt.")],
    stage: Annotated[
        str | None, typer.Option(help="autoencoder: the first stage alone; default: all there is.")
    ] = None,
    step: Annotated[
        str | None, typer.Option(metavar="N", help="A checkpoint of a run: a step, or best; default: the newest.")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Export a model to CompVis or diffusers; what they cannot hold is refused by name."""
    one_of("--format", to, FORMATS)
    if stage is not None:
        one_of("--stage", stage, ("autoencoder",))
    from latentry.pipeline.foreign import export_model

    with working():
        written = export_model(model, to, out, stage=stage, step=checkpoint(step), report=warn)
    if as_json:
        emit_json({"format": to, "written": [str(path) for path in written]})
    else:
        say(f"{to}: {', '.join(map(str, written))}")
