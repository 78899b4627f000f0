"""`latentry reconstruct`: images through the first stage and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentry.cli.output import JSON, emit_json, say


def reconstruct(
    model: Annotated[Path, typer.Argument(help="A model folder or a run folder.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the reconstructions.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Encode images and decode them again: what the first stage keeps of them."""
    from latentry import pipeline

    pipe = pipeline.load(model)
    results = pipe.reconstruct(images, out=out)
    if as_json:
        emit_json(results)
    else:
        for result in results:
            say(f"{result['path']} -> {result['out']}  {result['psnr']:.2f} dB")
