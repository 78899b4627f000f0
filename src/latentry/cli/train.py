"""`latentry train`: the stages of a recipe, or one; the same command goes on where it stopped."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from latentry.checkpoints.lock import refuse_if_held
from latentry.cli.output import DEVICE, JSON, emit_json, figures, first_process, say, table
from latentry.cli.progress import Watch, duration

DRY_RUN = typer.Option("--dry-run", help="A few real steps, a sample and a save: size, speed, memory, disk.")
ACCEPT_DATA_CHANGE = typer.Option(
    "--accept-data-change", help="Go on although the images have changed since the start."
)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (`latentry recipes`) or a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Changes, as in diffusion.train.steps=20000."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="The run's folder; the same command resumes it.")],
    data: Annotated[Path | None, typer.Option(help="Folder of images; without it those that the recipe draws.")] = None,
    stage: Annotated[str | None, typer.Option(help="autoencoder, diffusion, classifier or distill alone.")] = None,
    device: Annotated[str, DEVICE] = "auto",
    dry_run: Annotated[bool, DRY_RUN] = False,
    accept_data_change: Annotated[bool, ACCEPT_DATA_CHANGE] = False,
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file with kinds of your own.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Train a recipe on a folder of images: the autoencoder, then the diffusion model."""
    if first_process() and not dry_run:
        refuse_if_held(out)
    from latentry.training.run import train as run_training

    watch = Watch(sys.stderr if as_json else sys.stdout)
    run = run_training(
        recipe,
        data=data,
        out=out,
        overrides=overrides or [],
        stage=stage,
        device=device,
        dry_run=dry_run,
        report=watch.say,
        progress=watch.progress,
        doing=watch.waiting,
        accept_data_change=accept_data_change,
        plugins=tuple(plugin or ()),
    )
    if not first_process():
        return
    if as_json:
        emit_json({"run": str(out), "figures": run.figures})
    elif dry_run:
        rehearsal(run.figures)
    else:
        figures(run.figures)


def rehearsal(measured: Mapping[str, Any]) -> None:
    """What a dry run measured, as two tables and the sums."""
    stages = measured["stages"].items()
    modules = [(name, f"{count:,}") for _, stage in stages for name, count in stage["parameters"].items()]
    table(["module", "parameters"], modules)
    say("")
    names = ["precision", "steps", "seconds a step", "images a second", "peak memory (GiB)", "checkpoint (GiB)"]
    rows = [[name, *(stage[key] for key in names), _hours(stage)] for name, stage in stages]
    table(["stage", *names, "time"], rows)
    say("")
    say(f"time in all  {_hours(measured, 'hours in all')}")
    say(f"disk         {measured['disk needed (GiB)']} GiB needed, {measured['disk free (GiB)']} GiB free")


def _hours(measured: Mapping[str, Any], key: str = "hours") -> str:
    """From the fastest to the slowest of the steps that were timed: on a busy machine they differ."""
    least, most = (duration(hours * 3600) for hours in (measured[key], measured.get(f"{key}, at most", measured[key])))
    return least if least == most else f"{least} to {most}"
