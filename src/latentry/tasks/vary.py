"""Variations of an image: noised to a strength, then denoised under a text or a class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from latentry.tasks.inputs.images import read_image
from latentry.tasks.inputs.window import check_least, multiple_of, whole
from latentry.tasks.options import OnCommandLine
from latentry.tasks.sampling import Sampling, no_denoiser, values_and_seeds
from latentry.tasks.task import Request, Task

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.diffusion.schedule import Level, Schedule
    from latentry.models.model import Model
    from latentry.tasks.inputs.window import Window


class Vary(Sampling):
    """Options of `vary`."""

    file: Annotated[Path, OnCommandLine(positional=True)] = Field(description="The image file.")
    strength: float = Field(
        0.6, gt=0, le=1, description="Share of the noise levels that is undone: near 0 the image itself, 1 another one."
    )


def level_of(schedule: Schedule, strength: float) -> Level:
    """The level up to which a strength in (0, 1] noises: the share of the times, at least the first.

    Source: Meng et al. 2022, "SDEdit", section 3.
    """
    return schedule.level(max(round(strength * schedule.steps) - 1, 0))


def noised(
    model: Model, latents: Callable[[], Tensor], seeds: list[int], strength: float
) -> tuple[Callable[[], Tensor], Level]:
    """Clean latents (B or 1, c, h, w) at the level of a strength, with the noise that `sample` begins with, once they
    are asked for (`Request.begin`)."""
    assert model.denoiser is not None  # or `why_not` has refused
    level = level_of(model.denoiser.schedule, strength)

    def begin() -> Tensor:
        import torch

        from latentry import rng
        from latentry.diffusion.process import q_sample

        latent = latents()
        noise = torch.cat([rng.normal(seed, "sampling start", [0], 0, latent.shape[1:]) for seed in seeds])
        return q_sample(latent, noise.to(latent), level.alpha, level.sigma)

    return begin, level


def request(options: Vary, model: Model) -> Request:
    """Variations of the image at its own size."""
    assert model.denoiser is not None
    picture = read_image(options.file, model.config.data)
    check_least(options.file, picture.size)
    values, seeds = values_and_seeds(options, model)
    place = whole(picture.size, multiple_of(model))
    return Request(
        model.denoiser.guessed(values),
        seeds,
        place.size,
        begin=noised(model, lambda: model.encode(place.cut(picture.image)[None]), seeds, options.strength),
        back=partial(_uncut, place),
        facts=[{"name": options.file.stem, "strength": f"{options.strength:g}"}] * len(seeds),
        units=[picture.own] * len(seeds),
        notes=picture.notes,
    )


def _uncut(place: Window, images: Tensor) -> Tensor:
    return place.uncut(images)


TASK = Task(Vary, request, why_not=no_denoiser)
