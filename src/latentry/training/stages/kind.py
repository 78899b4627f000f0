"""What a stage of training is: an entry of the table `STAGES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from latentry.checkpoints.store import Saved
from latentry.kinds import Options
from latentry.models.config import ModelConfig
from latentry.training.loop.stage import Stage
from latentry.training.plan.plan import Plan

Parts = Mapping[str, nn.Module]
"""The module of each stage that is done, by the stage's name."""


def _nothing(_: Plan) -> None:
    return None


def _as_planned(plan: Plan) -> ModelConfig:
    return plan.model


@dataclass(frozen=True)
class StageKind:
    """One stage: its options in a recipe, and how it is built and finished.

    options: the class of its section of the recipe (`StageOptions`), which stands there under its name.
    needs: the stages whose modules it works with.
    build: (plan, parts) -> the stage, ready for the loop. parts: of the stages it needs.
    finish: (plan, parts, last checkpoint) -> the parts with its own module. Called by all processes when its training
    is done; without a checkpoint where there is nothing to train in this call.
    check: raises what of the plan would fail later; nothing is written.
    ready: the module of a stage that is not trained because the recipe gives it, or None.
    probe: the forward pass of a number of images to a scalar, by which `precision: auto` is timed.
    model: what `model.yaml` says once it is done.
    """

    options: type[Options]
    build: Callable[[Plan, Parts], Stage]
    finish: Callable[[Plan, Parts, Saved | None], Parts]
    needs: tuple[str, ...] = ()
    check: Callable[[Plan], None] = _nothing
    ready: Callable[[Plan], nn.Module | None] = _nothing
    probe: Callable[[Plan], Callable[..., Tensor]] | None = None
    model: Callable[[Plan], ModelConfig] = _as_planned
