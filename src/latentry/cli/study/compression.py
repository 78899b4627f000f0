"""`latentry study compression`: begin a compression study, or go on with one, to its report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from latentry.cli.output import DEVICE, JSON, emit_json, say, table
from latentry.cli.progress import Watch
from latentry.errors import UsageError, shown


def compression(
    context: typer.Context,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes of the recipe, for all factors.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="The study's folder: a new one, or one to go on with.")],
    data: Annotated[Path | None, typer.Option(help="Folder of images; without it those that the recipe draws.")] = None,
    recipe: Annotated[str, typer.Option(help="What all factors share: data, losses, rates, batches.")] = "small-64",
    factors: Annotated[str, typer.Option(help="Downsampling factors; 1 is pixels.")] = "1,2,4,8,16,32",
    budget: Annotated[float, typer.Option(help="Minutes for all of it, about.")] = 60.0,
    parameters: Annotated[int, typer.Option(help="Of each denoiser; a first stage has a quarter.")] = 1_000_000,
    first_share: Annotated[float, typer.Option(help="Share of training that goes to the first stage.")] = 0.3,
    checkpoints: Annotated[int, typer.Option(help="How often each training is measured.")] = 4,
    steps: Annotated[str, typer.Option(help="Sampling steps (DDIM) to measure at the end.")] = "5,10,20",
    samples: Annotated[int, typer.Option(help="Samples of each measurement.")] = 256,
    seed: Annotated[int | None, typer.Option(help="Of training and samples; default: the recipe's.")] = None,
    device: Annotated[str, DEVICE] = "auto",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Train and measure diffusion models on first stages of several factors, at equal compute and size."""
    words: dict[str, Any] = {
        "changes": changes, "data": data, "recipe": recipe, "factors": factors, "budget": budget,
        "parameters": parameters, "first_share": first_share, "checkpoints": checkpoints, "steps": steps,
        "samples": samples, "seed": seed,
    }  # fmt: skip
    typed = {name for name in words if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
    chosen = {name: value for name, value in words.items() if name in typed}
    for name in ("factors", "steps"):
        if name in chosen:
            chosen[name] = _numbers(f"--{name}", chosen[name])
    _run(chosen, out, device, as_json)


def _run(chosen: dict[str, Any], out: Path, device: str, as_json: bool) -> None:
    from latentry import config
    from latentry.study.compression.options import CompressionOptions
    from latentry.study.compression.report import PAGE
    from latentry.study.compression.run import study

    options = config.validate(CompressionOptions, chosen, "study compression")
    watch = Watch(sys.stderr if as_json else sys.stdout)
    findings = study(options, out, device=device, report=watch.say, progress=watch.progress)
    if as_json:
        emit_json(findings.plain)
        return
    for one in findings.tables:
        table(one.columns, one.rows)
        say("")
    for line in findings.lines:
        say(line)
    say(f"report: {out / PAGE}")


def _numbers(option: str, words: str) -> list[int]:
    """`1,2,4` as numbers. Raises UsageError."""
    try:
        return [int(word) for word in words.split(",")]
    except ValueError:
        raise UsageError(f'{option}: found "{shown(words)}"; accepted: whole numbers with commas, as 1,2,4') from None
