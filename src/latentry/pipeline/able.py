"""What a model can be asked for: told where it was asked for something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentry.conditioning.arrays import Arrays
from latentry.errors import UsageError
from latentry.models.model import Model
from latentry.tasks import TASKS
from latentry.tasks.sampling import CONDITIONS, Sampling


def able(model: Model) -> list[str]:
    """The commands that it can be asked by."""
    alone = always_taken(model)

    def given(task: Any) -> bool:
        own = alone is None or alone[0] in CONDITIONS or not issubclass(task.options, Sampling)
        return own or (alone is not None and alone[1].options.kind == task.gives)

    return [e.command for e in TASKS.values() if e.task.why_not(model) is None and given(e.task)]


def always_taken(model: Model) -> tuple[str, Arrays] | None:
    """The one condition of a model that has no other, if it is an array: without it there is nothing to draw."""
    named = {} if model.denoiser is None else model.denoiser.named_conditioners()
    found = [(name, one) for name, one in named.items() if isinstance(one, Arrays)]
    return found[0] if len(named) == len(found) == 1 else None


def check_given(model: Model, values: Mapping[str, Any]) -> None:
    """Raise UsageError for a request without the condition that the model always takes."""
    alone = always_taken(model)
    if alone is None or alone[0] in values:
        return
    name, conditioner = alone
    how = f"--{name}" if name in CONDITIONS else f"{name}=... in Python"
    raise UsageError(
        f"{name}: nothing was given; this model always takes {conditioner.takes}. Give one ({how}). {can(model)}"
    )


def can(model: Model) -> str:
    """What it can, as a sentence."""
    return f"It can: {', '.join(able(model)) or 'nothing'}."
