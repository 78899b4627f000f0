"""The runs in the folders that the server was started with, by name."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from latentry.checkpoints.run_folder import is_run
from latentry.serve.runs.run import TrainingRun
from latentry.text import printable


class Runs:
    """What clients ask for is looked up here, and never a path. folders: runs, and folders of runs."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.folders = [folder.absolute() for folder in folders]
        self._known: dict[Path, TrainingRun] = {}
        self._lock = threading.Lock()

    def table(self) -> dict[str, TrainingRun]:
        """The runs that are there now, those that began since among them."""
        with self._lock:
            found = list(dict.fromkeys(path for folder in self.folders for path in runs_in(folder)))
            self._known = {path: self._known.get(path) or TrainingRun(path) for path in found}
            named: dict[str, TrainingRun] = {}
            for path, run in self._known.items():
                named[_free(printable(path.name) or "run", named)] = run
            return named


def runs_in(folder: Path) -> Iterator[Path]:
    """Itself, where it is a run, or the runs right inside it."""
    if is_run(folder):
        yield folder
        return
    with suppress(OSError):
        yield from (one for one in sorted(folder.iterdir()) if is_run(one))


def _free(name: str, taken: dict[str, TrainingRun]) -> str:
    """The name, with a number where another folder has a run of that name."""
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name}-{number}"
    return free
