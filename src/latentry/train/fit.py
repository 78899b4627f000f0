"""The one training loop. A stage says what a step is; the loop says when to log, look, save and stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentry.checkpoints.store import Store
from latentry.errors import LatentryError
from latentry.train.log import Log, Window
from latentry.train.signals import Stopped, StopRequest
from latentry.train.stage import Stage

BAD_STEPS = 3


@dataclass(frozen=True)
class Progress:
    """Where training is. seconds_left is an estimate from the recent rate."""

    stage: str
    step: int
    steps: int
    loss: float
    images_per_second: float
    seconds_left: float


class Clock:
    """Images a second since the last look, and the time left at that rate."""

    def __init__(self, step: int) -> None:
        self.step, self.time = step, time.monotonic()

    def look(self, step: int, batch: int, steps: int) -> tuple[float, float]:
        """(images a second, seconds left); starts a new interval."""
        now = time.monotonic()
        rate = (step - self.step) / max(now - self.time, 1e-9)
        self.step, self.time = step, now
        return rate * batch, (steps - step) / max(rate, 1e-9)


class Loop:
    """One stage from where its newest good checkpoint left it to its last step."""

    def __init__(
        self,
        stage: Stage,
        store: Store,
        log: Log,
        *,
        previews: Path | None,
        constants: Mapping[str, Any],
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.stage, self.store, self.log = stage, store, log
        self.previews, self.constants, self.progress = previews, constants, progress
        self.window, self.bad, self.done, self.warned = Window(), 0, 0, set[str]()

    def resume(self) -> int:
        """Load the newest good checkpoint, if any; returns the step to begin with."""
        saved = self.store.newest()
        if saved is None:
            return 0
        self.stage.load({name: saved.tensors(name) for name in saved.groups}, saved.state["values"])
        self.window.sums = saved.state["window"]
        self.done = saved.step
        if self.stage.world.chief:
            self.log.rewind(self.stage.name, saved.step)
            if saved.step < self.stage.training.steps:
                self.log.event(self.stage.name, saved.step, f"{self.stage.name}: goes on from step {saved.step}")
        return saved.step

    def run(self) -> None:
        """Train to the last step. Raises Stopped after a requested stop, when everything is saved."""
        training, world = self.stage.training, self.stage.world
        step = self.resume()
        if step >= training.steps:
            return
        clock, source = Clock(step), self.stage.batches(step)
        with StopRequest() as request:
            while step < training.steps:
                self._step(step, next(source))
                step += 1
                self._look(step, clock)
                stop = world.any(bool(request.code))
                if stop or step % training.save_every == 0 or step == training.steps:
                    self.save(step)
                if stop:
                    raise Stopped(request.code or 143)

    def _step(self, step: int, parts: list[Any]) -> None:
        metrics, finite = self.stage.step(step, parts)
        if finite:
            self.bad = 0
            self.window.add(metrics)
            return
        self.bad += 1
        names = ", ".join(k for k, v in metrics.items() if v != v or abs(v) == float("inf")) or "a gradient"
        self.log.event(
            self.stage.name, step, f"{self.stage.name}: step {step}: {names} not finite; this step is not applied"
        )
        if self.bad == BAD_STEPS:
            raise LatentryError(
                f"{self.stage.name}: step {step}: {names} not finite {BAD_STEPS} times in a row; stopped. The weights "
                f"are those before the first of them, and the last checkpoint is step {self.done}. "
                "Lower lr, set clip: 1.0, or precision: fp32."
            )

    def _look(self, step: int, clock: Clock) -> None:
        """Log, validate and preview when due."""
        training, name, chief = self.stage.training, self.stage.name, self.stage.world.chief
        last = step == training.steps
        if step % training.log_every == 0 or last:
            row = self.window.take()
            rate, left = clock.look(step, training.batch, training.steps)
            if chief:
                self.log.row(name, step, {**row, "images_per_second": rate})
                self._warn(row, step)
                if self.progress:
                    self.progress(Progress(name, step, training.steps, row.get("loss", float("nan")), rate, left))
        if chief and (step % training.validate_every == 0 or last):
            row = self._careful("validation", step, lambda: self.stage.validate(step)) or {}
            if row:
                self.log.row(name, step, row)
                self._warn(row, step)
        if chief and self.previews is not None and (step % training.sample_every == 0 or last):
            path = self.previews / f"{name}-{step:07d}.png"
            self._careful("preview", step, lambda: self.stage.preview(path))

    def _careful(self, what: str, step: int, look: Callable[[], Any]) -> Any:
        """Looking never ends a run: what goes wrong there is said, and training goes on."""
        try:
            return look()
        except (RuntimeError, OSError, MemoryError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.log.event(
                self.stage.name, step, f"{self.stage.name}: {what} at step {step} failed ({text}); training goes on"
            )
            return None

    def _warn(self, row: Mapping[str, float], step: int) -> None:
        for text in self.stage.warnings(row, step):
            if text not in self.warned:
                self.warned.add(text)
                self.log.event(self.stage.name, step, f"{self.stage.name}: warning at step {step}: {text}")

    def save(self, step: int) -> None:
        """Save everything a resume needs; only the chief writes, all wait."""
        if self.stage.world.chief:
            state = self.stage.state()
            values = {"values": state.values, "window": self.window.sums, **self.constants}
            self.store.save(step, state.tensors, values)
        self.done = step
        self.stage.world.barrier()
