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
    from latentry.pipeline.output import check_target

    check_target(out, len(images))
    pipe = pipeline.load(model)
    written = {str(image): [str(path) for path in pipe.reconstruct([image]).save(out)] for image in images}
    if as_json:
        emit_json(written)
    else:
        for image, paths in written.items():
            say(f"{image} -> {', '.join(paths)}")
