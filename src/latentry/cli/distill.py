"""`latentry distill`: a model that samples in one or a few steps, of one that takes many."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from latentry.checkpoints.lock import refuse_if_held
from latentry.cli.output import DEVICE, JSON, emit_json, figures, first_process, say
from latentry.cli.progress import Watch
from latentry.cli.train import ACCEPT_DATA_CHANGE, DRY_RUN, rehearsal


def distill(
    model: Annotated[Path, typer.Argument(help="A run or a model folder with both stages.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes, as in distill.train.steps=500.")
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="The new run's folder; the same command resumes it; default: runs/NAME-distilled."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the images it was trained on; default: that of its run.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe by whose `data:` the folder is read; default: the run's.")
    ] = None,
    device: Annotated[str, DEVICE] = "auto",
    dry_run: Annotated[bool, DRY_RUN] = False,
    accept_data_change: Annotated[bool, ACCEPT_DATA_CHANGE] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Distill a model into one that samples in one or a few steps, with its guidance folded in."""
    if first_process() and not dry_run and out is not None:
        refuse_if_held(out)
    from latentry.training.distill import distill as run_distilling

    watch = Watch(sys.stderr if as_json else sys.stdout)
    run = run_distilling(
        model,
        data=data,
        out=out,
        overrides=overrides or [],
        recipe=recipe,
        device=device,
        dry_run=dry_run,
        report=watch.say,
        progress=watch.progress,
        doing=watch.waiting,
        accept_data_change=accept_data_change,
    )
    if not first_process():
        return
    if as_json:
        emit_json({"run": str(run.path), "figures": run.figures})
    elif dry_run:
        rehearsal(run.figures)
    else:
        figures(run.figures)
        say(f"{run.path}: draw with it by `latentry sample {run.path} --out PATH`")
