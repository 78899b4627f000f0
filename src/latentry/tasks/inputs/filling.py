"""From an image with a hole to the request that fills it, and from the decoded window back to the whole image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from latentry.bounds import MOST_IMAGES
from latentry.tasks.inputs.window import Window, around, multiple_of
from latentry.tasks.options import Between, OnCommandLine
from latentry.tasks.sampling import Sampling, values_and_seeds
from latentry.tasks.task import PerImage, Request

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.data.ranges.meaning import Units
    from latentry.models.model import Model

REACH = 2
"""Latents over which the offset falls that lets a hole meet its surroundings: an error of the decoder is as long."""


class Filling(Sampling):
    """Options of the tasks that fill holes."""

    n: Annotated[int, Between(1, "ask for at least one image", MOST_IMAGES), OnCommandLine(flags=("-n", "--count"))] = (
        Field(1, description="How many images.")
    )
    keep_known: Annotated[bool, OnCommandLine(flags=("--keep-known/--plain",))] = Field(
        True, description="Every known pixel is the input's, and the hole meets it without a seam; or what is decoded."
    )
    resample: int = Field(
        5,
        ge=1,
        le=100,
        description="Models not trained to fill: passes of each step; more fit better, and take longer.",
    )


def fill(options: Filling, model: Model, image: Tensor, hole: Tensor, units: Units | None, **how: Any) -> Request:
    """The request that fills the hole (H, W) bool of an image (C, H, W) in [-1, 1].

    Models with a condition `masked` are given image and mask, any other has what is known put in its place at every
    step. Only a window around the hole is worked on. units: what the result is saved in. how: more of the `Request`.
    """
    place = around(hole, multiple_of(model), model.config.data.size)
    picture, gap = place.cut(image), place.cut(hole)  # (C, h, w), (h, w)
    assert model.denoiser is not None  # or `why_not` has refused
    values, seeds = values_and_seeds(options, model)
    asked: dict[str, Any] = dict(model.denoiser.guessed(values))
    way: dict[str, Any] = {}
    trained = trained_condition(model)
    if trained is None:
        way = _replacing(model, picture, gap, seeds, options.resample)
    elif trained not in asked:
        asked[trained] = [_pair(picture, gap)] * len(seeds)
    reach = float(REACH * model.autoencoder.factor) if options.keep_known else None
    back = partial(pasted, image, hole, place, reach=reach)
    return Request(asked, seeds, place.size, back=back, units=[units] * len(seeds) if units else [], **way, **how)


def trained_condition(model: Model) -> str | None:
    """The name of the condition by which the model was trained to fill holes."""
    from latentry.conditioning.masked import Masked

    named = {} if model.denoiser is None else model.denoiser.named_conditioners()
    return next((name for name, conditioner in named.items() if isinstance(conditioner, Masked)), None)


def _pair(picture: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """What `masked` takes: the image with -1 in the hole, and the mask (1, h, w), 1 there and -1 elsewhere."""
    return picture.masked_fill(gap, -1.0), gap[None].float() * 2 - 1


def _replacing(model: Model, picture: Tensor, gap: Tensor, seeds: list[int], times: int) -> dict[str, Any]:
    """How the sampler fills the hole by itself: what is wrapped around the denoiser and the solver."""
    import torch

    from latentry import rng
    from latentry.diffusion.contracts import Denoise
    from latentry.diffusion.masking import latent_hole, replaced, resampled
    from latentry.tasks.inputs.membrane import membrane

    # A film over the hole: what was there shall not show in the latents around it.
    latent = model.encode(membrane(picture, gap)[None])  # (1, c, h, w)
    unknown = latent_hole(gap[None, None], model.autoencoder.factor).to(latent)  # (1, 1, h, w)
    noise = torch.cat([rng.normal(seed, "known noise", [0], 0, latent.shape[1:]) for seed in seeds]).to(latent)

    def make(noise: Tensor) -> Any:
        def wrap(denoise: Denoise) -> Denoise:
            return replaced(denoise, latent, unknown > 0, noise)

        return wrap

    return {"wrap": (PerImage(make, noise),), "walk": partial(resampled, times=times), "passes": times}


def pasted(image: Tensor, hole: Tensor, place: Window, drawn: Tensor, *, reach: float | None) -> Tensor:
    """Windows (B, C, h, w) as decoded to whole images (B, C, H, W).

    reach: the hole alone is taken, shifted by a smooth offset that meets the known pixels around it and falls to 1/e
    within so many pixels; None: the window as it is. Source: Perez et al. 2003, section 3: cloning without a seam.
    """
    from latentry.tasks.inputs.membrane import membrane

    result = image.expand(len(drawn), *image.shape).clone()
    inside = place.uncut(drawn)  # (B, C, height, width)
    target, gap = place_of(result, place), place_of(hole, place)
    for to, of in zip(target, inside, strict=True):
        if reach is None:
            to.copy_(of)
            continue
        offset = membrane((to - of).masked_fill(gap, 0.0), gap, reach)
        to.copy_(to.where(~gap, (of + offset).clamp(-1, 1)))
    return result


def place_of(image: Tensor, place: Window) -> Tensor:
    """The window of (..., H, W), as a view."""
    return image[..., place.top : place.top + place.height, place.left : place.left + place.width]
