"""What a lack of memory in training is told as: the most that was in use, and what takes less."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch

from latentry.devices import GIB, peak
from latentry.errors import LatentryError, is_out_of_memory
from latentry.training.loop.world import World
from latentry.training.recipe.training import StageTraining


@contextlib.contextmanager
def explained(training: StageTraining, name: str, world: World, where: Callable[[], str]) -> Iterator[None]:
    """For the length of a `with` a lack of memory is a LatentryError: the peak, and what takes less for the same step.

    name: of the stage. where: says where its training is, and what was saved.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        used = peak(world.device)
        raise LatentryError(
            f"{name}: not enough memory, {where()}: {used:.2f} GiB were in use at the highest{_of(world.device)}. "
            f"{advice(training, name, world.size)}"
        ) from error


def advice(training: StageTraining, name: str, processes: int) -> str:
    """Which settings take less memory; the batch of a step stays the same wherever it can."""
    now, at_once = training.accumulate, training.batch // training.accumulate // processes
    parts = [n for n in range(2 * now, training.batch + 1) if training.batch % (n * processes) == 0]
    ways = [] if training.checkpoint_activations else [f"set {name}.train.checkpoint_activations=true"]
    anew = "precision: bf16, or " if training.precision == "fp32" else ""
    others = "; ".join([*ways, f"or, in a new --out, take {anew}a smaller data.size or `channels`"]).removeprefix(
        "or, "
    )
    if not parts:
        each = "one image" if at_once == 1 else f"{at_once} images"
        return f"{each.capitalize()} at once {'does' if at_once == 1 else 'do'} not fit: {others}."
    fewer = training.batch // parts[0] // processes
    each = " in each process" if processes > 1 else ""
    return (
        f"Set {name}.train.accumulate={parts[0]}: {fewer} images at once{each} instead of {at_once}, and the same "
        f"batch of {training.batch} in a step (batch {fewer * processes}, accumulated {parts[0]} times); the same "
        f"command with it goes on. If that is not enough: {others}."
    )


def _of(device: torch.device) -> str:
    """What there is."""
    if device.type == "cuda":
        return f", of {torch.cuda.get_device_properties(device).total_memory / GIB:.1f} GiB"
    return ""
