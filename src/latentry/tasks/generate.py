"""New images from conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from latentry.tasks.inputs.arrays import size_of
from latentry.tasks.options import OnCommandLine
from latentry.tasks.sampling import Sampling, no_denoiser, values_and_seeds
from latentry.tasks.size import Size, fitting_size
from latentry.tasks.task import Request, Task

if TYPE_CHECKING:
    from latentry.models.model import Model


class Generate(Sampling):
    """Options of `generate`."""

    size: Annotated[Size, OnCommandLine(metavar="HxW")] = Field(
        None, description="Size; default: that of a semantic map, else the model's."
    )


def request(options: Generate, model: Model) -> Request:
    """Images of the model's size or another, from noise, with the conditions that follow from those that are set."""
    assert model.denoiser is not None  # or `why_not` has refused
    size = fitting_size(options.size or size_of(options.conditions().get("semantic")), model)
    values, seeds = values_and_seeds(options, model, size)
    return Request(model.denoiser.guessed(values), seeds, size)


TASK = Task(Generate, request, why_not=no_denoiser)
