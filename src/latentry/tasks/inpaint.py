"""A hole in an image, filled; an object in it, removed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from latentry.errors import UsageError
from latentry.tasks.inputs.filling import Filling, fill
from latentry.tasks.inputs.images import file_units, read_image
from latentry.tasks.inputs.masks import BoxTexts, boxes_hole, checked, read_mask, transparent
from latentry.tasks.options import OnCommandLine
from latentry.tasks.sampling import no_denoiser
from latentry.tasks.task import Request, Task

if TYPE_CHECKING:
    from latentry.models.config import DataFacts
    from latentry.models.model import Model
    from latentry.tasks.inputs.masks import Hole


class Inpaint(Filling):
    """Options of `inpaint`."""

    file: Annotated[Path, OnCommandLine(positional=True)] = Field(description="The image file.")
    mask: Path | None = Field(None, description="A mask as large as the image: white is filled, black is kept.")
    box: Annotated[BoxTexts, OnCommandLine(metavar="X,Y,W,H")] = Field(
        (), description="A box to fill, in pixels from the upper left corner; may be repeated."
    )


def request(options: Inpaint, model: Model) -> Request:
    """The image with its hole filled, at its own size. Without mask and boxes the hole is what is transparent."""
    import torch

    facts = model.config.data
    if options.mask is None and not options.box:  # what is behind transparency is to be filled anyway
        facts = facts.model_copy(update={"background": facts.background or "white"})
    image, units = read_image(options.file, facts)
    hole, notes = _hole(options, (image.shape[1], image.shape[2]), facts)
    kept = units or file_units(options.file, facts)
    name = [{"name": options.file.stem}] * options.count
    return fill(options, model, image, torch.from_numpy(hole), kept, facts=name, notes=notes)


def _hole(options: Inpaint, size: tuple[int, int], facts: DataFacts) -> tuple[Hole, tuple[str, ...]]:
    """What is to be filled of an image of `size` (H, W), and notes on it."""
    limits = facts.options().limits
    if options.mask is None and not options.box:
        hole = None if facts.alpha else transparent(options.file, limits)
        if hole is None:
            own = "the model's images have transparency themselves" if facts.alpha else "and the image is opaque"
            raise UsageError(
                f"{options.file}: no hole was given, {own}; accepted: --mask FILE with white where to fill, "
                "--box X,Y,W,H, or transparent pixels"
            )
        return hole, checked(hole, f"{options.file}: its transparency")
    hole = boxes_hole(options.box, size)
    if options.mask is not None:
        hole |= read_mask(options.mask, size, limits)
    return hole, checked(hole, str(options.mask or "--box"))


TASK = Task(Inpaint, request, why_not=no_denoiser, gives="masked")
