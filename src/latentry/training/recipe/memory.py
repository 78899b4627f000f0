"""What no attempt on this machine could succeed with: refused before anything takes its memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from latentry.errors import UsageError
from latentry.models.checks import about_parameters
from latentry.training.recipe.recipe import Recipe

GIB = 2**30
FLOAT = 4  # bytes
LIMIT = Path("/sys/fs/cgroup/memory.max")


def of_machine() -> int | None:
    """Bytes of memory that this machine, or the container on it, has; None where it does not say."""
    found = []
    with suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(ValueError, OSError):  # "max" where there is no limit
        found.append(int(LIMIT.read_text()))
    return min((size for size in found if size > 0), default=None)


def check_memory(recipe: Recipe, memory: int | None = None) -> None:
    """Raises UsageError where weights alone, or the images of one step, are more than the machine's memory.

    They may then be trained on a GPU or not: weights are made, and images read, in the machine's own memory first.
    """
    memory = memory or of_machine()
    if memory is None:
        return
    d = recipe.diffusion
    for stage, section in recipe.sections().items():
        network: Any = d.unet if section is d else section
        name = "diffusion.unet" if section is d else stage
        if not section.trains or not hasattr(network, "multipliers"):
            continue
        weights = FLOAT * about_parameters(network)
        if weights > memory:
            raise UsageError(
                f"{name}: a network of about {weights / FLOAT:.1e} parameters, {weights / GIB:.0f} GiB; this machine "
                f"has {memory / GIB:.0f} GiB of memory. Lower channels or multipliers."
            )
        height, width = recipe.data.height_width
        together = section.train.batch // section.train.accumulate
        images = FLOAT * together * height * width * recipe.data.channels
        if images > memory:
            raise UsageError(
                f"{name.partition('.')[0]}.train: {together} images of {height}x{width} at once are {images / GIB:.0f} "
                f"GiB; this machine has {memory / GIB:.0f} GiB. Raise accumulate, or lower batch or data.size."
            )
