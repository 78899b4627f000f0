"""The mode in which a request is drawn: the one that is asked for, the usual one, or what `auto` finds for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from latentry import devices
from latentry.models.config import SampleOptions
from latentry.models.model import Model
from latentry.models.modes import AUTO, Mode, checked, usual
from latentry.models.modes.applying import apply_to_model, forget_others
from latentry.models.modes.choosing import Trial, choose
from latentry.models.modes.remembered import key, recall, remember
from latentry.pipeline.sampling import levels_of, solve
from latentry.tasks import Request

Tell = Callable[[str], None]
FEW = 4
"""Steps of the pictures by which modes are compared."""


def enter(model: Model, mode: Mode, tell: Tell) -> None:
    """Have the networks compute in a mode. tell: called with a line where they cannot be compiled."""
    apply_to_model(mode, model, tell)
    devices.set_formats(model.device, mode.precision)


def settled(
    mode: str | Mode | None, bf16: bool, model: Model, request: Request, chosen: SampleOptions, tell: Tell
) -> Mode:
    """The mode of a request, which `model` then is in. tell: called with what `auto` chose and why."""
    found = checked(mode)
    if found == AUTO:
        found = _auto(model, request, chosen, tell) if _samples(model, request, chosen) else None
    settled = found if isinstance(found, Mode) else usual(model.device)
    settled = settled.but(precision="bf16") if bf16 else settled
    enter(model, settled, tell)
    return settled


def _samples(model: Model, request: Request, chosen: SampleOptions) -> bool:
    return len(levels_of(model, request, chosen)) > 1


def _auto(model: Model, request: Request, chosen: SampleOptions, tell: Tell) -> Mode:
    guided = chosen.guidance != 1
    of = key(model.device, _network(model), (request.count, *request.size, int(guided)))
    known = recall(of)
    if known is not None:
        tell(f"mode: {known[0]}, as was found before: {known[1]}")
        return known[0]
    tell("mode: timing modes for auto; the answer is remembered")
    mode, why = choose(_trial(model, request, chosen, tell))
    enter(model, mode, tell)
    for network in (model.autoencoder, model.denoiser):
        if network is not None:
            forget_others(network)
    remember(of, mode, why)
    tell(f"mode: {mode}: {why}")
    return mode


def _network(model: Model) -> list[object]:
    parts = (model.config.autoencoder, model.config.diffusion)
    return [None if part is None else part.model_dump(mode="json") for part in parts]


def _trial(model: Model, request: Request, chosen: SampleOptions, tell: Tell) -> Trial:
    few = chosen.model_copy(update={"steps": FEW, "reuse": 1})
    levels = levels_of(model, request, few)

    def walked(steps: int) -> Tensor:
        x = torch.empty(0)
        for step, _ in zip(solve(model, request, levels, few, bf16=bf16[0]), range(steps), strict=False):
            x = step.x
        return x

    bf16 = [False]

    def into(mode: Mode) -> None:
        bf16[0] = mode.precision == "bf16"
        enter(model, mode, tell)

    def draw() -> Tensor:
        return ((model.decode(walked(len(levels))) + 1) / 2).clamp(0, 1)

    return Trial(model.device, into, draw, partial(walked, 1))
