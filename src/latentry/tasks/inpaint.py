"""A hole in an image, filled; an object in it, removed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from latentry.errors import UsageError
from latentry.tasks.inputs.filling import Filling, fill
from latentry.tasks.inputs.images import read_image
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
    marked = options.mask is not None or bool(options.box)
    if not marked:  # what is behind transparency is to be filled anyway
        facts = facts.model_copy(update={"background": facts.background or "white"})
    picture = read_image(options.file, facts)
    hole, notes = _marked(options, picture.size, facts) if marked else _transparent(options.file, facts)
    notes += picture.notes if marked else ()
    gap, name = torch.from_numpy(hole), [{"name": options.file.stem}] * options.count
    return fill(options, model, picture.image, gap, picture.own, facts=name, notes=notes)


def _marked(options: Inpaint, size: tuple[int, int], facts: DataFacts) -> tuple[Hole, tuple[str, ...]]:
    """What mask and boxes mark of an image of `size` (H, W), and notes on it."""
    hole = boxes_hole(options.box, size)
    if options.mask is None:
        return hole, checked(hole, "--box")
    drawn, notes = read_mask(options.mask, size, facts.options().limits)
    hole |= drawn
    return hole, notes + checked(hole, str(options.mask))


def _transparent(path: Path, facts: DataFacts) -> tuple[Hole, tuple[str, ...]]:
    """What is not opaque of the image, and notes on it."""
    hole = None if facts.alpha else transparent(path, facts.options().limits)
    if hole is None:
        own = "the model's images have transparency themselves" if facts.alpha else "and the image is opaque"
        raise UsageError(
            f"{path}: no hole was given, {own}; accepted: --mask FILE with white where to fill, --box X,Y,W,H, or "
            "transparent pixels"
        )
    return hole, checked(hole, f"{path}: its transparency")


TASK = Task(Inpaint, request, why_not=no_denoiser, gives="masked")
