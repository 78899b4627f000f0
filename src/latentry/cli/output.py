"""What commands print: lines for people, JSON for programs, errors on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import typer

from latentry.checkpoints import durable
from latentry.errors import UsageError, did_you_mean, shown
from latentry.text import number

JSON = typer.Option("--json", help="Print JSON, for programs.")
DEVICE = typer.Option(help="auto, cuda, cuda:1, mps or cpu.")


def first_process() -> bool:
    """Whether this process is the one that prints, of the several that torchrun may have started."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """A line for people, at once. Raises DiskFull where the output goes to a file that finds no room."""
    try:
        print(text, flush=True)
    except OSError as error:
        where = _output()
        drop_output()
        if error.errno not in durable.FULL:
            raise
        raise durable.disk_full(where, len(text.encode(errors="replace"))) from error


def drop_output() -> None:
    """What could not be written is not tried again when Python ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output() -> Path:
    """Where the output goes, where the system tells."""
    try:
        return Path("/proc/self/fd/1").readlink()
    except OSError:
        return Path("standard output")


def complain(text: str) -> None:
    """An error, on stderr."""
    colour = sys.stderr.isatty()
    print(f"\033[31merror:\033[0m {text}" if colour else f"error: {text}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """What a person should know, on stderr, so that --json stays JSON."""
    print(text, file=sys.stderr, flush=True)


def emit_json(value: Any) -> None:
    """One JSON document on stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    say(text.encode("utf-8", "backslashreplace").decode())  # half a pair as JSON writes it: \udce9


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 120).print(grid)


def one_of(option: str, value: str, accepted: Sequence[str]) -> str:
    """`value`, if it is known. Errors: `UsageError` that lists what is."""
    if value not in accepted:
        raise UsageError(
            f'{option}: found "{shown(value)}"; accepted: {", ".join(accepted)}{did_you_mean(value, accepted)}'
        )
    return value


def checkpoint(step: str | None) -> int | str | None:
    """`--step` as `load` takes it: a number where it is one, else the word that was typed."""
    found = None if step is None else number(step)
    return step if found is None else found


def figures(values: Mapping[str, Any]) -> None:
    """Named figures, one a line."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        say(f"  {name.ljust(width)}  {f'{value:.4g}' if isinstance(value, float) else value}")


def bar(what: str, counted: str = "") -> AbstractContextManager[Callable[..., None] | None]:
    """A progress bar on a terminal, called with (done, of how many, of what); None elsewhere. counted: of what else."""
    return _bar(what, counted) if sys.stderr.isatty() else nullcontext()


@contextmanager
def _bar(what: str, counted: str) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)

        def update(done: int, total: int, of: str = counted) -> None:
            told = f"{what}: {done} of {total} {of}" if of else what
            progress.update(task, completed=done, total=total, description=told)

        yield update


def decoding(where: str, every: float = 10.0) -> Callable[[str, int, int], None]:
    """The progress of a large image as lines on stderr, called with (part, done, of how many).

    One at most every so many seconds, and that of the last tile.
    """
    last = [float("-inf")]

    def tell(part: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= every or (part == "tile" and done == total):
            last[0] = now
            warn(f"{where}, decoded while they are written: {part} {done} of {total}")

    return tell
