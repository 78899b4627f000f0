"""What commands print: lines for people, JSON for programs, errors on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import typer

JSON = typer.Option("--json", help="Print JSON, for programs.")


def first_process() -> bool:
    """Whether this process is the one that prints, of the several that torchrun may have started."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """A line for people, at once."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line beside the result: to stderr, so that stdout stays what a program reads."""
    print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """An error, on stderr."""
    colour = sys.stderr.isatty()
    print(f"\033[31merror:\033[0m {text}" if colour else f"error: {text}", file=sys.stderr, flush=True)


def emit_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str), flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 120).print(grid)


def figures(values: Mapping[str, Any]) -> None:
    """Named figures, one a line."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        say(f"  {name.ljust(width)}  {f'{value:.4g}' if isinstance(value, float) else value}")


def bar(what: str, total: int) -> AbstractContextManager[Callable[[], None]]:
    """A progress bar on a terminal, nothing elsewhere; calling it moves it one on."""
    if not sys.stderr.isatty():
        return nullcontext(lambda: None)
    return _bar(what, total)


def _bar(what: str, total: int) -> AbstractContextManager[Callable[[], None]]:
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import Progress

    @contextmanager
    def running() -> Any:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=total)
            yield lambda: progress.advance(task)

    return running()
