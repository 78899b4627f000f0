"""New images from conditions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from latentry.bounds import MOST_IMAGES, Weight
from latentry.tasks.inputs.arrays import size_of
from latentry.tasks.options import OnCommandLine
from latentry.tasks.sampling import Sampling, no_denoiser, values_and_seeds
from latentry.tasks.size import Size, fitting_size
from latentry.tasks.task import Request, Task

if TYPE_CHECKING:
    from latentry.models.model import Model

GUIDE_SCALE = 50.0


class Generate(Sampling):
    """Options of `generate`."""

    size: Annotated[Size, OnCommandLine(metavar="HxW")] = Field(
        None, description="Size; default: that of a semantic map, else the model's."
    )
    guide: Annotated[
        Path | Annotated[tuple[Path, ...], Field(min_length=1, max_length=MOST_IMAGES)] | None,
        OnCommandLine(metavar="IMAGE"),
    ] = Field(None, description="An image that the samples, made as small, are to look like; any model can be guided.")
    guide_scale: Weight = Field(GUIDE_SCALE, description="How closely they follow it.")
    guide_loss: Literal["pixels", "latents", "lpips"] = Field(
        "pixels", description="By what they are compared: pixels, latents (quicker) or lpips (looks)."
    )

    @model_validator(mode="after")
    def _guided(self) -> Generate:
        if self.guide is None and (self.guide_scale, self.guide_loss) != (GUIDE_SCALE, "pixels"):
            raise ValueError(
                "guide: is missing, which guide_scale and guide_loss are for. Give an image, --guide IMAGE"
            )
        return self


def request(options: Generate, model: Model) -> Request:
    """Images of the model's size or another, from noise, with the conditions that follow from those that are set."""
    assert model.denoiser is not None  # or `why_not` has refused
    size = fitting_size(options.size or size_of(options.conditions().get("semantic")), model)
    values, seeds = values_and_seeds(options, model, size)
    complete = model.denoiser.guessed(values)
    if options.guide is None:
        return Request(complete, seeds, size)
    from latentry.tasks.inputs.guide import guided_by

    guides = options.guide if isinstance(options.guide, tuple) else (options.guide,)
    wrap, facts, notes = guided_by(guides, options.guide_scale, options.guide_loss, model, size, len(seeds))
    return Request(complete, seeds, size, wrap=(wrap,), facts=facts, notes=notes)


TASK = Task(Generate, request, why_not=no_denoiser)
