"""Colours for a grey image."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from latentry.bounds import MOST_IMAGES
from latentry.tasks.inputs.images import read_image
from latentry.tasks.inputs.window import Window, check_least, multiple_of, whole
from latentry.tasks.options import Between, OnCommandLine
from latentry.tasks.sampling import Sampling, no_denoiser, values_and_seeds
from latentry.tasks.task import Request, Task

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.models.model import Model


class Colorize(Sampling):
    """Options of `colorize`."""

    file: Annotated[Path, OnCommandLine(positional=True)] = Field(
        description="The image file: grey, or its colours are not looked at."
    )
    n: Annotated[int, Between(1, "ask for at least one image", MOST_IMAGES), OnCommandLine(flags=("-n", "--count"))] = (
        Field(1, description="How many images.")
    )
    keep_grey: Annotated[bool, OnCommandLine(flags=("--keep-grey/--plain",))] = Field(
        True, description="The result is as light as the input at every pixel; or what is decoded."
    )


def why_not(model: Model) -> str | None:
    """Why a model cannot: it was not trained on grey images."""
    return no_denoiser(model) or (
        None
        if grey_condition(model)
        else "has no condition of kind `grey`, so it cannot colour images. Train with "
        "`diffusion.conditioning.grey={kind: grey, factor: F}`, F of the first stage."
    )


def grey_condition(model: Model) -> str | None:
    """The name of the condition by which the model was trained to colour images."""
    from latentry.conditioning.grey import Grey

    named = {} if model.denoiser is None else model.denoiser.named_conditioners()
    return next((name for name, conditioner in named.items() if isinstance(conditioner, Grey)), None)


def request(options: Colorize, model: Model) -> Request:
    """The image in colours, at its own size."""
    import torch

    from latentry.conditioning.grey import luma

    name = grey_condition(model)
    assert name is not None  # or `why_not` has refused
    assert model.denoiser is not None
    picture = read_image(options.file, model.config.data)
    check_least(options.file, picture.size)
    place = whole(picture.size, multiple_of(model))
    grey = torch.from_numpy(luma(picture.image.numpy()))  # (1, H, W)
    values, seeds = values_and_seeds(options, model)
    asked = {**model.denoiser.guessed(values), name: [place.cut(grey)] * len(seeds)}
    return Request(
        asked,
        seeds,
        place.size,
        back=partial(_back, place, grey if options.keep_grey else None),
        facts=[{"name": options.file.stem}] * len(seeds),
        units=[picture.own] * len(seeds),
        notes=picture.notes,
    )


def _back(place: Window, grey: Tensor | None, drawn: Tensor) -> Tensor:
    """Windows as decoded to images of the input's size, as light as `grey` (1, H, W) if it is given."""
    images = place.uncut(drawn)
    return images if grey is None else relit(images, grey)


def relit(images: Tensor, grey: Tensor) -> Tensor:
    """Images (B, 3 or 4, H, W) in [-1, 1] with the luma (1, H, W), by the same shift of red, green and blue.

    Where a colour would leave the range, it is paled towards the grey until it does not, which keeps luma and hue.
    """
    import torch

    from latentry.conditioning.grey import LUMA

    colours = images[:, :3].clamp(-1, 1)
    chroma = colours - torch.einsum("c,bchw->bhw", torch.from_numpy(LUMA).to(images), colours)[:, None]  # luma 0
    room = torch.where(chroma > 0, 1 - grey, 1 + grey).clamp(min=0)
    fits = (room / chroma.abs().clamp(min=1e-6)).amin(1, keepdim=True).clamp(max=1)
    return torch.cat([grey + fits * chroma, images[:, 3:]], 1)


TASK = Task(Colorize, request, why_not=why_not, gives="grey")
