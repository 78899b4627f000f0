"""What the loop asks of a stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latentry.checkpoints.best import Score
from latentry.devices import waits
from latentry.training.loop.optimiser import Updater
from latentry.training.loop.world import World
from latentry.training.recipe.training import StageTraining


class StepResult(NamedTuple):
    """metrics: plain numbers of this step. finite: False if it was not applied because something was not finite.
    blamed: then the weights whose gradients were not."""

    metrics: dict[str, float]
    finite: bool
    blamed: Sequence[str] = ()

    def read(self) -> StepResult:
        """Itself."""
        return self


class Unread:
    """The result of a step that a device may not have done yet; its numbers are on their way.

    finish: makes the result of the numbers.
    """

    def __init__(self, numbers: Tensor, finish: Callable[[list[float]], StepResult]) -> None:
        self.finish = finish
        self.numbers = numbers.to("cpu", non_blocking=True)
        self.there = torch.cuda.Event() if numbers.is_cuda else None
        if self.there is not None:
            self.there.record(torch.cuda.current_stream(numbers.device))

    def read(self) -> StepResult:
        """Wait for the numbers; what was asked of the device since then goes on."""
        if self.there is not None:
            self.there.synchronize()
        return self.finish(self.numbers.tolist())


def result_of(numbers: Tensor, finish: Callable[[list[float]], StepResult]) -> StepResult | Unread:
    """The result that `finish` makes of the numbers (N,): at once where nothing has to be waited for."""
    return Unread(numbers, finish) if waits(numbers.device) else finish(numbers.tolist())


@dataclass
class State:
    """What a checkpoint holds: named groups of tensors, and plain values."""

    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


class Stage(ABC):
    """A stage of training: its batches, one step, its state, and how it is looked at.

    name: as in `STAGES`. model: what it trains for later stages. training: how. world: the processes, and the device.
    headline: the columns of the log that tell best how it goes, shown while it trains.
    """

    name: str
    model: nn.Module
    training: StageTraining
    world: World
    headline: tuple[str, ...] = ("loss",)

    @abstractmethod
    def batches(self, start: int) -> Iterator[list[Any]]:
        """The parts (microbatches of this process) of each step from `start` on, without end."""

    @abstractmethod
    def step(self, step: int, parts: list[Any]) -> StepResult | Unread:
        """Update every weight once. The loop reads the result when the next step is under way, or when it is due."""

    @abstractmethod
    def state(self) -> State:
        """Everything a resume needs."""

    @abstractmethod
    def load(self, state: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""

    def validate(self, step: int) -> dict[str, float]:
        """Numbers on held-out data, the same data and noise each time."""
        return {}

    def evaluate(self, step: int) -> dict[str, float]:
        """Distances of what it makes to real images; see `evaluate_every`."""
        return {}

    @property
    def score(self) -> Score | None:
        """Of the last evaluation, what the best checkpoint is kept by; None where it is kept by nothing."""
        return None

    @property
    def evaluate_every(self) -> int | None:
        """How many steps lie between two evaluations; None for none."""
        return None

    def warnings(self, metrics: Mapping[str, float], step: int) -> list[str]:
        """What goes wrong, if anything does, in plain words."""
        return []

    def preview(self, path: Path) -> None:
        """Write a picture of the state of things."""
        return

    def updaters(self) -> dict[str, Updater]:
        """Its optimisers, by what goes before `lr` in the log: "" for that of `model`."""
        return {}

    def rates(self, step: int) -> dict[str, float]:
        """The learning rates in force at `step` (from 0), as columns of the log."""
        return {f"{prefix}lr": updater.rate(step) for prefix, updater in self.updaters().items()}

    def files(self, step: int) -> list[str]:
        """The images of a step's whole batch, of all processes, by path; none where a stage has no images."""
        return []

    def damaged(self, parts: list[Any]) -> list[str]:
        """Those of `files`, of this process, whose own values (pixels or latents) are not finite."""
        return []

    def modules(self) -> dict[str, nn.Module]:
        """The networks that it trains, by name."""
        return {self.name: self.model}

    def costliest_step(self) -> int:
        """The first step from which on everything takes part that ever will."""
        return 0


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and buffers, detached."""
    return {name: tensor.detach() for name, tensor in module.state_dict().items()}
