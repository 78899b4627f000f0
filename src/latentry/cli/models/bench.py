"""`latentry bench`: what a model costs on this machine, in time and memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from latentry.cli.output import DEVICE, JSON, checkpoint, emit_json, say, table, warn
from latentry.cli.progress import Watch
from latentry.errors import UsageError, shown


def bench(
    model: Annotated[Path, typer.Argument(help="A model folder or a run folder.")],
    *,
    batch: Annotated[str, typer.Option(help="Images worked on at once.")] = "1,4,16",
    steps: Annotated[str | None, typer.Option(help="Network evaluations of a sample; default: the model's.")] = None,
    modes: Annotated[
        str | None, typer.Option(help="How the network runs, as in `fp32 bf16,channels_last`; default: three of them.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Sizes of images; default: the model's.")] = None,
    images: Annotated[str | None, typer.Option(help="Images of a request; default: one batch.")] = None,
    parts: Annotated[str, typer.Option(help="What is measured.")] = "step,decode,samples,training",
    against: Annotated[str | None, typer.Option(help="diffusers: the same weights there too.")] = None,
    budget: Annotated[float, typer.Option(help="Seconds for all of it, about.")] = 120.0,
    rounds: Annotated[int, typer.Option(help="How often each thing is timed, at most.")] = 7,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json, bench.csv and the plot.")] = None,
    step: Annotated[
        str | None, typer.Option(metavar="N", help="A checkpoint of a run: a step, or best; default: the newest.")
    ] = None,
    device: Annotated[str, DEVICE] = "auto",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Time a model's steps, samples and training, with memory and share of what the hardware can do."""
    given: dict[str, Any] = {
        "batch": _numbers("--batch", batch),
        "parts": parts.split(","),
        "against": against,
        "budget": budget,
        "rounds": rounds,
    }
    given |= {} if steps is None else {"steps": _numbers("--steps", steps)}
    given |= {} if images is None else {"images": _numbers("--images", images)}
    given |= {} if modes is None else {"modes": modes.split()}
    given |= {} if size is None else {"size": _sizes(size)}
    _run(model, given, out, checkpoint(step), device, as_json)


def _run(model: Path, given: dict[str, Any], out: Path | None, step: Any, device: str, as_json: bool) -> None:
    from latentry import config, pipeline
    from latentry.bench.options import BenchOptions
    from latentry.bench.result import shown as columns
    from latentry.bench.run import bench as measure
    from latentry.bench.writing import check_target, write
    from latentry.interrupts import working
    from latentry.training.loop.waiting import Waiting

    options = config.validate(BenchOptions, given, "bench")
    if out is not None:
        check_target(out)
    pipe = pipeline.load(model, device=device, step=step)
    with working(), Waiting(Watch(sys.stderr).waiting, "bench") as waiting:
        found = measure(pipe, options, doing=waiting.doing)
        written = [] if out is None else write(out, found)
    if as_json:
        emit_json(found.plain)
        return
    table(*columns(found.rows))
    for note in found.notes:
        warn(note)
    if written:
        say(f"in {out}: {', '.join(path.name for path in written)}")


def _numbers(option: str, words: str) -> list[int]:
    """`1,4,16` as numbers. Raises UsageError."""
    try:
        return [int(word) for word in words.split(",")]
    except ValueError:
        raise UsageError(f'{option}: found "{shown(words)}"; accepted: whole numbers with commas, as 1,4,16') from None


def _sizes(words: str) -> list[tuple[int, int]]:
    """`64,96x64` as (H, W). Raises UsageError."""
    from latentry.tasks.size import parse_size

    try:
        return [parse_size(word) for word in words.split(",")]
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None
