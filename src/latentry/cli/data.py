"""`latentry data`: folders of images looked at before a training, and the procedural set `shapes`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentry.checkpoints import durable
from latentry.cli.output import JSON, bar, emit_json, say
from latentry.errors import UsageError

if TYPE_CHECKING:
    from latentry.data.folders.check import Report

EACH = 4096  # bytes of a set's image besides its pixels, about

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

    try:
        write(out, count, size=shape, seed=seed)
    except OSError as error:
        if error.errno not in durable.FULL:
            raise
        raise durable.disk_full(out, count * (4 * shape[0] * shape[1] + EACH)) from error
    say(f"{count} image{'s' * (count != 1)} in {out}")


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
    recipe: Annotated[str | None, typer.Option(help="Check against what this recipe says about data, too.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Read every file of a folder and list what a training would stumble over. Exit code 1 if there is any."""
    from latentry.data.folders.check import check as check_folder

    options = None
    if recipe is not None:
        from latentry.training.plan.auto import resolve
        from latentry.training.plan.recipes import load

        options = resolve(load(recipe), folder).data
    with bar("reading") as progress:
        report = check_folder(folder, options, progress)
    if as_json:
        emit_json(plain_report(report))
    else:
        print_report(report)
    if not report.ok:
        raise typer.Exit(1)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`96x64` as (height, width); `64` is a square. Errors: `UsageError`."""
    from latentry.tasks import size

    try:
        return None if text is None else size.parse_size(text)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None


def plain_report(report: Report) -> dict[str, Any]:
    """The report for programs; sizes are written HxW."""
    values = {one.name: getattr(report, one.name) for one in fields(report)}
    sizes = {f"{height}x{width}": count for (width, height), count in report.sizes.most_common()}
    bad, notes = ([{"path": path, "reason": reason} for path, reason in lines] for lines in (report.bad, report.notes))
    return values | {"root": str(report.root), "ok": report.ok, "sizes": sizes, "bad": bad, "notes": notes}


def print_report(report: Report) -> None:
    """The report for people: what there is, then what is odd, then what is wrong."""
    plain = plain_report(report)
    say(f"{report.root}: {report.images} images")
    for what in ("formats", "channels", "depths", "sizes", "labels", "split", "fields", "foreign"):
        counts = [f"{name} ({count})" for name, count in plain[what].items()]
        if counts:
            more = f", and {len(counts) - 12} more" if len(counts) > 12 else ""
            say(f"  {what.ljust(8)}  {', '.join(counts[:12])}{more}")
    if report.captions:
        say(f"  captions  {report.captions} ({report.empty_captions} empty)")
    if report.unlisted:
        say(f"  unlisted  {report.unlisted} images that metadata.jsonl does not name")
    for path, note in report.notes:
        say(f"note: {path}: {note}")
    for path, reason in report.bad:
        say(f"bad: {path}: {reason}")
    for problem in report.problems:
        say(f"problem: {problem}")
    say("ok" if report.ok else f"{len(report.bad)} bad files, {len(report.problems)} problems")
