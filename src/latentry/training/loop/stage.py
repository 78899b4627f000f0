"""What the loop asks of a stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from latentry.training.loop.options import StageTraining
from latentry.training.loop.world import World


class StepResult(NamedTuple):
    """metrics: plain numbers of this step. finite: False if it was not applied because something was not finite."""

    metrics: dict[str, float]
    finite: bool


@dataclass
class State:
    """What a checkpoint holds: named groups of tensors, and plain values."""

    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


class Stage(Protocol):
    """A stage of training: its batches, one step, its state, and how it is looked at."""

    name: str
    world: World

    @property
    def model(self) -> nn.Module:
        """What it trains for later stages and the model folder."""

    @property
    def training(self) -> StageTraining:
        """How the stage is trained."""

    def batches(self, start: int) -> Iterator[list[Any]]:
        """The parts (microbatches of this process) of each step from `start` on, without end."""

    def step(self, step: int, parts: list[Any]) -> StepResult:
        """Update every weight once."""

    def state(self) -> State:
        """Everything a resume needs."""

    def load(self, state: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""

    def validate(self, step: int) -> dict[str, float]:
        """Numbers on held-out data, the same data and noise each time."""

    def warnings(self, metrics: Mapping[str, float], step: int) -> list[str]:
        """Plain words about what goes wrong, if anything does."""

    def preview(self, path: Path) -> None:
        """Write a picture of the state of things."""

    def modules(self) -> dict[str, nn.Module]:
        """The networks that it trains, by name."""

    def costliest_step(self) -> int:
        """The first step from which on everything takes part that ever will."""


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and buffers, detached."""
    return {name: tensor.detach() for name, tensor in module.state_dict().items()}
