"""The record of a run: `log.jsonl`, `events.jsonl`, TensorBoard, and lines for a person."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from latentry import text
from latentry.checkpoints import durable
from latentry.errors import LatentryError

Report = Callable[[str], None]
ROWS, EVENTS = "log.jsonl", "events.jsonl"
LONGEST = 2**30 - 1  # bytes
WALL_CLOCK = ("time", "images_per_second", "seconds_left")


class Log:
    """Appends to the files of a run; None keeps nothing. What fails here is said, and never ends the run.

    rows: how many rows of numbers each stage has.
    """

    def __init__(self, run: Path | None, report: Report) -> None:
        self.run, self.report = run, report
        self.rows: Counter[str] = Counter()
        self._waiting: dict[str, list[str]] = {ROWS: [], EVENTS: []}
        self._boards: dict[str, Any] = {}
        self._no_board = run is None
        self._lost: list[Exception] = []
        self._hook: Callable[[threading.ExceptHookArgs], object] | None = None

    def rewind(self, stage: str, step: int, rows: int | None = None) -> None:
        """Forget what `stage` did beyond `step` (beyond its first `rows`), and torn lines: it will be written again."""
        if self.run is None:
            return
        try:
            self.rows[stage] = _take_back(self.run / ROWS, stage, step, rows)
            _take_back(self.run / EVENTS, stage, step, None)
        except (OSError, LatentryError) as error:
            self.report(f"log: could not be taken back to step {step} ({error}); training goes on")
        self._open_board(stage, step + 1)

    def row(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """One line of numbers."""
        self.rows[stage] += 1
        self._append(ROWS, {"stage": stage, "step": step, **values, "time": time.time()})
        board = self._open_board(stage)
        if board is not None:
            try:
                for name, value in values.items():
                    board.add_scalar(f"{stage}/{name}", value, step)
            except Exception as error:
                self._give_up_board(error)

    def event(self, stage: str, step: int, text: str) -> None:
        """Something a person should know: said, and kept."""
        self.report(text)
        self._append(EVENTS, {"stage": stage, "step": step, "event": text, "time": time.time()})

    def sync(self) -> None:
        """Wait until the disk has every row, so that no checkpoint outlives the rows before it."""
        if self.run is None or not (self.run / ROWS).exists():
            return
        try:
            handle = os.open(self.run / ROWS, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError:
            pass  # a row that could not be written was told of already

    def close(self) -> None:
        """Flush what is open."""
        try:
            for board in self._boards.values():
                board.close()
        except Exception as error:
            self._give_up_board(error)
        self._boards = {}
        if self._lost:
            self._give_up_board(self._lost[0])
        if self._hook is not None:
            threading.excepthook, self._hook = self._hook, None

    def _keep_quiet(self) -> None:
        """TensorBoard writes in threads of its own; how one ends is told in one line, and not by its traceback."""
        if self._hook is not None:
            return
        before, lost = threading.excepthook, self._lost

        def hook(ended: threading.ExceptHookArgs) -> None:
            if type(ended.thread).__module__.startswith("tensorboard.") and isinstance(ended.exc_value, Exception):
                lost.append(ended.exc_value)
            else:
                before(ended)

        self._hook, threading.excepthook = before, hook

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        """Write the row, after those that could not be written before; all of it or nothing."""
        if self.run is None:
            return
        waiting = self._waiting[name]
        waiting.append(json.dumps(row) + "\n")
        try:
            handle = os.open(self.run / name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o666)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):  # a pipe nobody reads from would be waited for
                    raise OSError(errno.EINVAL, "is not a file")
                _write_whole(handle, "".join(waiting).encode())
            finally:
                os.close(handle)
            waiting.clear()
        except OSError as error:
            if len(waiting) == 1:
                self.report(f"log: {name} cannot be written ({error.strerror}); training goes on")

    def _open_board(self, stage: str, first: int | None = None) -> Any:
        """TensorBoard's writer of a stage. first: what an earlier start wrote from this step on is not shown."""
        if self._no_board or self.run is None:
            return None
        if stage not in self._boards:
            try:
                from torch.utils.tensorboard import SummaryWriter

                self._keep_quiet()
                folder = str(self.run / "tensorboard" / stage)
                self._boards[stage] = SummaryWriter(folder, purge_step=first)
            except Exception as error:
                self._give_up_board(error)
        return self._boards.get(stage)

    def _give_up_board(self, error: Exception) -> None:
        if not self._no_board:
            why = (
                error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
            )
            self.report(f"log: TensorBoard failed ({why}); training goes on without it")
        self._no_board = True


def _write_whole(handle: int, data: bytes) -> None:
    size = os.fstat(handle).st_size
    try:
        if size and os.pread(handle, 1, size - 1) != b"\n":
            data = b"\n" + data
        while data:
            data = data[os.write(handle, data) :]
    except OSError:
        os.ftruncate(handle, size)
        raise


def _take_back(path: Path, stage: str, step: int, most: int | None) -> int:
    """Rewrite the file without what is to be forgotten; how many lines of `stage` stay."""
    if not os.path.lexists(path):
        return 0
    lines, kept, own = text.read_bytes(path, LONGEST).splitlines(keepends=True), [], 0
    for line in lines:
        try:
            row = json.loads(line) if line.endswith(b"\n") else {}
            mine, at = row["stage"] == stage, row["step"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if mine and (at > step or (most is not None and own >= most)):
            continue
        own += mine
        kept.append(line)
    if kept != lines:
        durable.replace_file(path, b"".join(kept))
    return own


class Window:
    """Running means between two rows of the log; saved with the checkpoint so that a resume logs the same row."""

    def __init__(self) -> None:
        self.sums: dict[str, list[float]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """One step's numbers."""
        for name, value in values.items():
            entry = self.sums.setdefault(name, [0.0, 0.0])
            entry[0] += value
            entry[1] += 1

    def means(self) -> dict[str, float]:
        """The means since the window was cleared."""
        return {name: total / count for name, (total, count) in self.sums.items()}

    def clear(self) -> None:
        """Begin anew."""
        self.sums = {}
