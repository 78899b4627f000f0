"""`latentry data`: folders of images looked at before a training, and the procedural set `shapes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentry.cli.output import JSON, emit_json, say
from latentry.cli.sample import parse_size

app = typer.Typer(help="Look at a folder of images, or make one to try things on.", no_args_is_help=True)


@app.command("shapes")
def shapes(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many images.")],
    size: Annotated[str, typer.Option(metavar="HxW", help="Size of the images.")] = "64",
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other images.")] = 0,
) -> None:
    """Write coloured shapes on backgrounds, with captions, labels, boxes and semantic maps."""
    shape = parse_size(size) or (64, 64)
    from latentry.data.shapes import write

    write(out, count, size=shape, seed=seed)
    say(f"{count} image{'s' * (count != 1)} in {out}")


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Read every file of a folder and list what a training would stumble over. Exit code 1 if there is any."""
    from latentry.data.check import check as check_folder

    report = check_folder(folder)
    if as_json:
        emit_json(report)
    else:
        say(str(report))
    if report.problems:
        raise typer.Exit(1)
