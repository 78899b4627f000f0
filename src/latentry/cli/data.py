"""`latentry data`: folders of images looked at before a training, and the procedural set `shapes`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentry.checkpoints import durable
from latentry.cli.output import JSON, bar, emit_json, say
from latentry.errors import UsageError
from latentry.text import one_line

if TYPE_CHECKING:
    from latentry.data.folders.check import Report
    from latentry.training.plan.recipes import Recipe

SHOWN = 12
"""Names of one kind that a person is shown."""

EACH = 4096  # bytes of a set's image besides its pixels, about

app = typer.Typer(help="Look at a folder of images, or make one to try things on.", no_args_is_help=True)


@app.command("shapes")
def shapes(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    count: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many images.")],
    size: Annotated[str, typer.Option(metavar="HxW", help="Size of the images.")] = "64",
    seed: Annotated[int, typer.Option(min=0, max=(1 << 63) - 1, help="Another seed, other images.")] = 0,
    scenes: Annotated[bool, typer.Option("--scenes", help="One or two shapes an image, of several sizes.")] = False,
) -> None:
    """Write coloured shapes on backgrounds, with captions, labels, boxes and semantic maps."""
    shape = parse_size(size) or (64, 64)
    from latentry.data.shapes import write

    try:
        write(out, count, size=shape, seed=seed, scenes=scenes)
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

    settled, said, refused = (None, [], []) if recipe is None else _settled(recipe, folder)
    with bar("reading") as progress:
        report = check_folder(folder, settled.data if settled else None, progress)
    report.read[:0] = [line.removeprefix("data: ") for line in said]
    report.problems += [problem for problem in refused if problem not in report.problems]
    if as_json:
        emit_json(plain_report(report))
    else:
        print_report(report)
    if not report.ok:
        raise typer.Exit(1)


def _settled(recipe: str, folder: Path) -> tuple[Recipe | None, list[str], list[str]]:
    """(the recipe with nothing left open, what was said of that, what training would refuse)."""
    from latentry.training.plan.auto import resolve
    from latentry.training.plan.checking import problems
    from latentry.training.plan.recipes import load

    wanted, said = load(recipe), list[str]()
    if not folder.is_dir():
        return None, said, []
    try:
        settled = resolve(wanted, folder, said.append)
    except UsageError as error:
        return None, said, [str(error)]
    return settled, said, problems(settled, folder)


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
    """The report for people: what there is and how it is read, then what is odd, then what is wrong."""
    plain = plain_report(report)
    say(f"{one_line(str(report.root))}: {report.images} images")
    for what in ("formats", "channels", "depths", "values", "sizes", "labels", "split", "fields", "others"):
        counts = [f"{one_line(str(name))} ({count})" for name, count in plain[what].items()]
        if counts:
            more = f", and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
            say(f"  {what.ljust(8)}  {', '.join(counts[:SHOWN])}{more}")
    if report.objects:
        classes = [f"{one_line(name)} ({count})" for name, count in report.objects.most_common()]
        more = f", and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
        count = sum(report.objects.values())
        say(f"  boxes     {count} in {report.boxed} images: {', '.join(classes[:SHOWN])}{more}")
    if report.captions:
        say(f"  captions  {report.captions} ({report.empty_captions} empty)")
    for line in report.read:
        say(f"read: {line}")
    for line in report.unread:
        say(f"not read: {line}")
    for line in _together(report.notes):
        say(f"note: {line}")
    for advice in report.advice:
        say(f"note: {advice}")
    for path, reason in report.bad:
        say(f"bad: {one_line(path)}: {reason}")
    for warning in report.warnings:
        say(f"warning: {warning}")
    for problem in report.problems:
        say(f"problem: {problem}")
    count = len(report.warnings)
    ok = f"ok, but for {count} warning{'s' * (count != 1)}" if count else "ok"
    say(ok if report.ok else f"{len(report.bad)} bad files, {len(report.problems)} problems")


def _together(notes: list[tuple[str, str]]) -> Iterator[str]:
    """A line for each note, one for all files of which the same is said where these are many."""
    paths: dict[str, list[str]] = {}
    for path, note in notes:
        paths.setdefault(note, []).append(one_line(path))
    for note, of in paths.items():
        if len(of) > SHOWN:
            yield f"{len(of)} files ({', '.join(of[:3])}, ...): {note}"
        else:
            yield from (f"{path}: {note}" for path in of)
