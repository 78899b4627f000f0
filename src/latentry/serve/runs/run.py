"""One run: what its recipe, its log, its events and its sheets of samples say now."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeGuard

from latentry.checkpoints.lock import is_held
from latentry.checkpoints.run_folder import RECIPE, STAGES, read_recipe
from latentry.errors import LatentryError
from latentry.evaluation.figures import FILE as FIGURES
from latentry.evaluation.figures import read_figures
from latentry.serve.runs.curve import Curve
from latentry.serve.runs.tail import Tail
from latentry.training.loop.log import EVENTS, ROWS, WALL_CLOCK

State = Literal["running", "ended", "stopped"]
SAMPLES = "samples"
GRID = re.compile(r"([a-z_]{1,40})-(\d{1,12})\.png")
PNG, IEND = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB\x60\x82"
LARGEST_GRID = 1 << 28
MOST_EVENTS, MOST_LOOKS = 200, 50
NEWS = re.compile(r"goes on from step|stopped; saved at step")
"""Events that are no warnings."""


class StageSteps(NamedTuple):
    """How long a stage of the recipe trains. batch: images of a step."""

    steps: int
    batch: int


class Grid(NamedTuple):
    """A sheet of samples that was drawn while a stage trained."""

    stage: str
    step: int
    path: Path
    changed: float


class Look(NamedTuple):
    """What was measured at a step: on held-out images, or of samples."""

    stage: str
    step: int
    values: dict[str, float]


class Happened(NamedTuple):
    """An event of the log. warning: whether there is something to look at."""

    stage: str
    step: int
    text: str
    time: float
    warning: bool


@dataclass
class Newest:
    """Of a stage: its last row, and the newest value of each number."""

    step: int
    time: float
    rate: float | None
    values: dict[str, float]


class TrainingRun:
    """A run that is watched. Files are read only where they changed, and of logs only what is new."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.Lock()
        self._rows, self._happened = Tail(path / ROWS), Tail(path / EVENTS)
        self._seen: dict[str, object] = {}
        self.recipe = ""
        self.stages: dict[str, StageSteps] = {}
        self.figures: dict[str, float] = {}
        self.measured = self.held = False
        self.grids: list[Grid] = []
        self.events = deque[Happened](maxlen=MOST_EVENTS)
        self.problem: str | None = None
        self._forget()

    def _forget(self) -> None:
        """What was read of the log."""
        self.curves: dict[tuple[str, str], Curve] = {}
        self.newest: dict[str, Newest] = {}
        self.looks = deque[Look](maxlen=MOST_LOOKS)

    def look(self) -> None:
        """See what is new. Call it, and read what it found, with `lock` held."""
        self.held = is_held(self.path)
        if self._changed(RECIPE):
            self._read_recipe()
        if self._changed(ROWS):
            self._read_rows()
        if self._changed(EVENTS):
            self._read_events()
        if self._changed(FIGURES):
            found = read_figures(self.path)
            self.measured, self.figures = found is not None, _numbers(found or {})
        self._read_grids()

    @property
    def revision(self) -> str:
        """Another one whenever any of it is."""
        return f"{hash((self.held, *sorted(self._seen.items()), *self.grids)) & 0xFFFFFFFFFFFF:x}"

    @property
    def state(self) -> State:
        """Running as long as a process holds it; ended once all that was asked for is trained, and measured."""
        if self.held:
            return "running"
        return "ended" if self.measured or (self.stages and all(map(self.is_done, self.stages))) else "stopped"

    def is_done(self, stage: str) -> bool:
        """Whether it has all its steps."""
        return stage in self.newest and self.newest[stage].step >= self.stages[stage].steps

    @property
    def stage(self) -> str | None:
        """The stage that wrote last."""
        return max(self.newest, key=lambda name: self.newest[name].time, default=None)

    @property
    def seconds_left(self) -> float | None:
        """Of the stage that trains now, by its recent rate, since its last row."""
        name = self.stage
        if not self.held or name is None or name not in self.stages:
            return None
        newest, whole = self.newest[name], self.stages[name]
        if not newest.rate or newest.step >= whole.steps:
            return None
        left = (whole.steps - newest.step) * whole.batch / newest.rate
        return max(0.0, left - max(0.0, time.time() - newest.time))

    def png(self, number: int) -> bytes | None:
        """A sheet of `grids`; None where there is none, and where it is not whole."""
        if not 0 <= number < len(self.grids):
            return None
        with suppress(OSError):
            path = self.grids[number].path
            if path.stat().st_size <= LARGEST_GRID:
                data = path.read_bytes()
                return data if data.startswith(PNG) and data.endswith(IEND) else None
        return None

    def _changed(self, name: str) -> bool:
        """Whether a file of it is another than when this was last asked."""
        found: object = None
        with suppress(OSError):
            state = (self.path / name).stat()
            found = (state.st_ino, state.st_size, state.st_mtime_ns)
        before, self._seen[name] = self._seen.get(name, "never"), found
        return before != found

    def _read_recipe(self) -> None:
        self.problem = None
        try:
            tree = read_recipe(self.path)
        except LatentryError as error:
            self.problem = str(error)
            return
        self.recipe, self.stages = str(tree.get("name") or ""), {}
        for name in STAGES:
            section = tree.get(name)
            training = section.get("train") if isinstance(section, dict) and not section.get("from") else None
            steps, batch = ((training or {}).get(key) for key in ("steps", "batch"))
            if isinstance(steps, int) and isinstance(batch, int):
                self.stages[name] = StageSteps(steps, batch)

    def _read_rows(self) -> None:
        begun, rows = self._rows.news()
        if begun:
            self._forget()
        for row in rows:
            stage, step, when = row["stage"], row["step"], row.get("time")
            values = _numbers({name: value for name, value in row.items() if name not in ("step", *WALL_CLOCK)})
            newest = self.newest.setdefault(stage, Newest(0, 0.0, None, {}))
            newest.step, newest.values = step, {**newest.values, **values}
            newest.time = float(when) if _is_number(when) else newest.time
            if "loss" in values:
                rate = row.get("images_per_second")
                newest.rate = float(rate) if _is_number(rate) else newest.rate
            elif values:
                self.looks.append(Look(stage, step, {name: v for name, v in values.items() if not name.endswith("lr")}))
            for name, value in values.items():
                self.curves.setdefault((stage, name), Curve()).add(step, value)

    def _read_events(self) -> None:
        begun, rows = self._happened.news()
        if begun:
            self.events.clear()
        for row in rows:
            text, when = str(row.get("event", "")), row.get("time")
            at = float(when) if _is_number(when) else 0.0
            self.events.append(Happened(row["stage"], row["step"], text, at, NEWS.search(text) is None))

    def _read_grids(self) -> None:
        """The sheets in the folder, in the order of training."""
        found = []
        with suppress(OSError):
            for path in (self.path / SAMPLES).iterdir():
                name = GRID.fullmatch(path.name)
                if name is not None and path.is_file() and not path.is_symlink():
                    found.append(Grid(name[1], int(name[2]), path, path.stat().st_mtime))
        order = {stage: place for place, stage in enumerate(STAGES)}
        self.grids = sorted(found, key=lambda grid: (order.get(grid.stage, len(order)), grid.stage, grid.step))


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(tree: dict[str, Any]) -> dict[str, float]:
    """What of it is a finite number, which is all that JSON has."""
    return {name: float(value) for name, value in tree.items() if _is_number(value)}
