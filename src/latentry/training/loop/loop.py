"""The one training loop. A stage says what a step is; the loop says when to log, look, save and stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from latentry.checkpoints.best import KEY as BEST
from latentry.checkpoints.best import Best, beaten
from latentry.checkpoints.store import Store
from latentry.devices import forget_peak, keeping_freed
from latentry.errors import LatentryError, is_out_of_memory
from latentry.training.loop.log import Log, Window
from latentry.training.loop.memory import explained
from latentry.training.loop.outlook import Outlook
from latentry.training.loop.signals import Interrupted, Stopped, StopRequest
from latentry.training.loop.stage import Stage, StepResult, Unread

BAD_STEPS, SHOWN_EVERY = 3, 2.0
NAMED = 4
"""Images and weights of a bad step that are named."""
VALIDATION, PREVIEW, EVALUATION = "validation", "preview", "evaluation"


@dataclass(frozen=True)
class Progress:
    """Where training is. seconds_left is an estimate from the recent rate.

    loss: what is minimised. shown: the numbers that tell best how it goes, by their columns in the log, the newest
    validation's among them. lr: the learning rate in force, where the stage has one.
    """

    stage: str
    step: int
    steps: int
    loss: float
    images_per_second: float
    seconds_left: float
    shown: Mapping[str, float] = field(default_factory=dict)
    lr: float | None = None


class Clock:
    """Images a second since the last look, and the time left at that rate."""

    def __init__(self, step: int) -> None:
        self.step, self.time = step, time.monotonic()

    def look(self, step: int, batch: int, steps: int) -> tuple[float, float]:
        """(images a second, seconds left); starts a new interval."""
        rate = self.peek(step, batch, steps)
        self.step, self.time = step, time.monotonic()
        return rate

    def peek(self, step: int, batch: int, steps: int) -> tuple[float, float]:
        """(images a second, seconds left), and the interval goes on."""
        rate = (step - self.step) / max(time.monotonic() - self.time, 1e-9)
        return rate * batch, (steps - step) / max(rate, 1e-9)


def reason(error: Exception) -> str:
    """Why something that may fail has failed, in a few words."""
    if is_out_of_memory(error):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return "not enough memory"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


class Loop:
    """One stage from where its newest good checkpoint left it to its last step."""

    def __init__(
        self,
        stage: Stage,
        store: Store,
        log: Log,
        request: StopRequest,
        *,
        previews: Path | None,
        constants: Mapping[str, Any],
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.stage, self.store, self.log, self.request = stage, store, log, request
        self.previews, self.constants, self.progress = previews, constants, progress
        self.window, self.bad, self.done, self.warned = Window(), 0, 0, set[str]()
        self.due: list[str] = []
        self.step = 0
        self.unread: tuple[int, list[Any], StepResult | Unread] | None = None
        self.best: Best | None = None
        self.better = False
        self.looked: dict[str, float] = {}
        self.shown = time.monotonic()

    def resume(self) -> int:
        """Load the newest good checkpoint, if any; returns the step to begin with."""
        saved, world = self.store.newest(), self.stage.world
        if saved is not None:
            self.stage.load({name: saved.tensors(name) for name in saved.groups}, saved.state["values"])
            self.window.sums = saved.state["window"]
            self.bad, self.due = saved.state.get("bad", 0), saved.state.get("due", [])
            self.warned = set(saved.state.get("warned", []))
            self.done, self.best = saved.step, Best.of(saved.state)
            if self.best is not None and self.best.step not in self.store.steps():
                self.best = None
        if world.chief:
            rows = saved.state.get("rows") if saved is not None else None
            self.log.rewind(self.stage.name, self.done, rows)
            if 0 < self.done < self.stage.training.steps:
                self._tell(self.done, f"goes on from step {self.done}")
            elif saved is None and self.store.steps():
                self._tell(0, "no checkpoint is undamaged; begins anew")
        return self.done

    def run(self) -> None:
        """Train to the last step. Raises Stopped after a requested stop, when everything is saved."""
        training, world = self.stage.training, self.stage.world
        forget_peak(world.device)
        told = explained(training, self.stage.name, world, self.where)
        with self.request.deferred(), told, keeping_freed(world.device):
            step = self.resume()
            self._look(step)
            if self._is_better():
                self.save(step)
            clock = Clock(step)
            outlook = Outlook(step, training.steps, training.batch, world.device.type)
            endless: Any = self.stage.batches(step)
            with closing(endless) as source:
                while step < training.steps:
                    self.step = step
                    self._step(step, next(source))
                    step += 1
                    self._record(step, clock)
                    if (text := outlook.after(step)) and world.chief:
                        self.log.report(f"{self.stage.name}: {text}")
                    self._look(step)
                    stop = world.any(bool(self.request.code))
                    better = self._is_better()
                    if stop or better or step % training.save_every == 0 or step == training.steps:
                        self.save(step)
                    if stop:
                        self._tell(step, f"stopped; saved at step {step}, the same command goes on from there")
                        raise Stopped(self.request.code or 143)

    def where(self) -> str:
        """Where training is, and what was saved, for whoever says that it ended."""
        saved = f"the checkpoint of step {self.done} is saved" if self.done else "there is no checkpoint yet"
        return f"at step {self.step}; {saved}"

    def _step(self, step: int, parts: list[Any]) -> None:
        """One step, and what the one before it found; its own result is read now where that means no waiting."""
        result = self.stage.step(step, parts)
        self._read()
        self.unread = step, parts, result
        if isinstance(result, StepResult):
            self._read()

    def _read(self) -> None:
        """What the newest step found, if it was not read yet."""
        if self.unread is None:
            return
        (step, parts, result), self.unread = self.unread, None
        metrics, finite, blamed = result.read()
        if finite:
            self.bad = 0
            self.window.add(metrics)
            return
        self.bad += 1
        what = self._not_finite(metrics, blamed)
        self._tell(step + 1, f"step {step}: {what} not finite; this update is not applied. {self._images(step, parts)}")
        if self.bad == BAD_STEPS:
            kept = f"the last checkpoint is that of step {self.done}" if self.done else "there is no checkpoint yet"
            steps = "; ".join(f"step {s}: {listed(self.stage.files(s))}" for s in range(step - BAD_STEPS + 1, step + 1))
            raise LatentryError(
                f"{self.stage.name}: step {step}: {what} not finite {BAD_STEPS} times in a row; stopped. None of "
                f"these updates was applied; {kept}. Look at the images of these steps ({steps}), or begin a new --out "
                "with a lower lr, clip: 1.0 or precision: fp32."
            )

    @staticmethod
    def _not_finite(metrics: Mapping[str, float], weights: Sequence[str]) -> str:
        """What of a step is not finite: numbers of the log, and behind a gradient's norm the weights."""
        names = [name for name, value in metrics.items() if not math.isfinite(value)]
        of = f" (the gradient of {listed(weights)})" if weights and all("norm" in name for name in names) else ""
        return (", ".join(names) or "a gradient") + of

    def _images(self, step: int, parts: list[Any]) -> str:
        """The images of a bad step, those first that are themselves to blame."""
        damaged, files = self.stage.damaged(parts), self.stage.files(step)
        blamed = f"Values that are not finite are in {listed(damaged)}. " if damaged else ""
        return f"{blamed}Its images: {listed(files)}" if files else blamed.strip()

    def _record(self, step: int, clock: Clock) -> None:
        """Log the step, show where training is, and note which looks are due, each where its turn has come."""
        training, name = self.stage.training, self.stage.name
        last = step == training.steps
        every = {VALIDATION: training.validate_every, PREVIEW: training.sample_every}
        if self.stage.evaluate_every:
            every[EVALUATION] = self.stage.evaluate_every
        self.due = [look for look, interval in every.items() if step % interval == 0 or last]
        if step % training.log_every == 0 or self.due:
            self._read()
        if step % training.log_every == 0 or last:
            row = self.window.means()
            if step % training.log_every == 0:
                self.window.clear()
            rate, left = clock.look(step, training.batch, training.steps)
            if self.stage.world.chief:
                self.log.row(name, step, {**row, **self.stage.rates(step - 1), "images_per_second": rate})
                self._warn(row, step)
                self._show(step, row, rate, left)
        elif self.stage.world.chief and time.monotonic() - self.shown >= SHOWN_EVERY:
            self._show(step, self.window.means(), *clock.peek(step, training.batch, training.steps))

    def _show(self, step: int, row: Mapping[str, float], rate: float, left: float) -> None:
        """Hand on where training is: when it is logged, and between where steps are slow."""
        self.shown = time.monotonic()
        if self.progress:
            loss = row.get("loss", float("nan"))
            known = {**self.looked, **row}
            shown = {name: known[name] for name in self.stage.headline if name in known}
            lr = self.stage.rates(step - 1).get("lr")
            self.progress(Progress(self.stage.name, step, self.stage.training.steps, loss, rate, left, shown, lr))

    def _look(self, step: int) -> None:
        """Validate and preview where due; what a stop leaves undone is due when training goes on."""
        while self.due and self.stage.world.chief and not self.request.code:
            try:
                if self.due[0] == VALIDATION:
                    if row := self.stage.validate(step):
                        self.log.row(self.stage.name, step, {**row, **self.stage.rates(step - 1)})
                        self.looked = row
                        self._warn(row, step)
                elif self.due[0] == EVALUATION:
                    if row := self.stage.evaluate(step):
                        self.log.row(self.stage.name, step, row)
                        self._rank(step)
                elif self.previews is not None:
                    self.stage.preview(self.previews / f"{self.stage.name}-{step:07d}.png")
            except Interrupted:
                return
            except Exception as error:  # looking never ends a run
                self._tell(step, f"{self.due[0]} at step {step} failed ({reason(error)}); training goes on")
            del self.due[0]

    def _rank(self, step: int) -> None:
        """Note whether this is the best checkpoint so far."""
        if found := beaten(self.best, step, self.stage.score):
            self.best, self.better = found, True

    def _is_better(self) -> bool:
        """Whether the chief has found a better one since the last save."""
        return self.stage.evaluate_every is not None and self.stage.world.any(self.better)

    def _warn(self, row: Mapping[str, float], step: int) -> None:
        for text in self.stage.warnings(row, step):
            if text not in self.warned:
                self.warned.add(text)
                self._tell(step, f"warning at step {step}: {text}")

    def _tell(self, step: int, text: str) -> None:
        if self.stage.world.chief:
            self.log.event(self.stage.name, step, f"{self.stage.name}: {text}")

    def save(self, step: int) -> None:
        """Save everything a resume needs; only the chief writes, all wait."""
        self._read()
        if self.stage.world.chief:
            state = self.stage.state()
            own = {"window": self.window.sums, "bad": self.bad, "due": self.due, "warned": sorted(self.warned)}
            own["rows"] = self.log.rows.get(self.stage.name, 0)
            if self.best is not None:
                own[BEST], self.store.best = self.best._asdict(), self.best.step
            self.log.sync()
            self.store.save(step, state.tensors, {"values": state.values, **own, **self.constants})
        self.done, self.better = step, False
        self.stage.world.barrier()
