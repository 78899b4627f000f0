"""An image continued beyond its sides: uncropping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from latentry.bounds import LARGEST_SIDE
from latentry.errors import UsageError
from latentry.tasks.inputs.filling import Filling, fill
from latentry.tasks.inputs.images import read_image
from latentry.tasks.options import OnCommandLine
from latentry.tasks.sampling import no_denoiser
from latentry.tasks.task import Request, Task

if TYPE_CHECKING:
    from latentry.models.model import Model


class Outpaint(Filling):
    """Options of `outpaint`."""

    file: Annotated[Path, OnCommandLine(positional=True)] = Field(description="The image file.")
    left: int = Field(0, ge=0, le=LARGEST_SIDE, description="Pixels to add on the left.")
    right: int = Field(0, ge=0, le=LARGEST_SIDE, description="Pixels to add on the right.")
    top: int = Field(0, ge=0, le=LARGEST_SIDE, description="Pixels to add above.")
    bottom: int = Field(0, ge=0, le=LARGEST_SIDE, description="Pixels to add below.")

    @model_validator(mode="after")
    def _some(self) -> Outpaint:
        if not (self.left or self.right or self.top or self.bottom):
            raise ValueError("no side to continue; give pixels to add, as in --left 64 (--right, --top, --bottom)")
        return self


def request(options: Outpaint, model: Model) -> Request:
    """The image inside a larger one, whose margins are filled."""
    import torch
    import torch.nn.functional as F

    picture = read_image(options.file, model.config.data)
    sides = (options.left, options.right, options.top, options.bottom)
    height = picture.size[0] + options.top + options.bottom
    width = picture.size[1] + options.left + options.right
    if max(height, width) > LARGEST_SIDE:
        raise UsageError(
            f"{options.file}: would become {height}x{width}; sides are at most {LARGEST_SIDE} pixels. Add fewer."
        )
    hole = F.pad(torch.zeros(picture.size), sides, value=1.0) > 0
    name = [{"name": options.file.stem}] * options.count
    return fill(options, model, F.pad(picture.image, sides), hole, picture.own, facts=name, notes=picture.notes)


TASK = Task(Outpaint, request, why_not=no_denoiser, gives="masked")
