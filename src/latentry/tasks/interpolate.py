"""Frames from one image to another: between two seeds, two texts, two classes or two image files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import MaxLen
from pydantic import BeforeValidator, Field, model_validator

from latentry.bounds import LARGEST_SEED, MOST_IMAGES
from latentry.errors import UsageError, shown
from latentry.tasks.inputs.images import read_image
from latentry.tasks.inputs.window import Window, multiple_of, whole
from latentry.tasks.options import Between, OnCommandLine
from latentry.tasks.sampling import Sampling, no_denoiser, values_and_seeds
from latentry.tasks.size import Size, fitting_size
from latentry.tasks.task import Request, Task
from latentry.tasks.vary import noised
from latentry.text import number

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.models.model import Model
    from latentry.tasks.inputs.images import GivenImage


def _seeds(value: Any) -> Any:
    """Seeds as texts: `1,2` in one, or two."""
    parts = [part for one in (value if isinstance(value, list | tuple) else [value]) for part in str(one).split(",")]
    for part in parts:
        seed = number(part.strip())
        if seed is None or not 0 <= seed <= LARGEST_SEED:
            raise ValueError(f'found "{shown(part)}"; accepted: two seeds, as in 1,2')
    return parts


class Interpolate(Sampling):
    """Options of `interpolate`."""

    n: Annotated[int, Between(1, "frames is how many images there are", 1), OnCommandLine(hidden=True)] = Field(
        1, description="Of each frame one image."
    )
    seeds: Annotated[
        tuple[str, ...], BeforeValidator(_seeds), MaxLen(2), OnCommandLine(flags=("--seeds",), metavar="A,B")
    ] = Field((), description="From the image of one seed to that of another, as in 1,2.")
    texts: Annotated[tuple[str, ...], MaxLen(2), OnCommandLine(metavar="TEXT")] = Field(
        (), description="From one text to another: give it twice."
    )
    labels: Annotated[tuple[str, ...], MaxLen(2), OnCommandLine(metavar="LABEL")] = Field(
        (), description="From one class to another: give it twice."
    )
    files: Annotated[tuple[Path, ...], MaxLen(2), OnCommandLine(flags=("--images",), metavar="FILE")] = Field(
        (), description="From one image file to another: give it twice."
    )
    frames: int = Field(8, ge=2, le=MOST_IMAGES, description="How many images, both ends among them.")
    strength: float = Field(
        0.5, gt=0, le=1, description="Between image files: share of the noise levels that is undone, as in `vary`."
    )
    size: Annotated[Size, OnCommandLine(metavar="HxW")] = Field(None, description="Size; default: the model's.")

    @property
    def count(self) -> int:
        return self.frames

    @model_validator(mode="after")
    def _ends(self) -> Interpolate:
        given = {name: getattr(self, name) for name in ("seeds", "texts", "labels", "files")}
        if not any(given.values()):
            raise ValueError("no two ends; give --seeds 1,2, or --texts, --labels or --images twice")
        for name, ends in given.items():
            if len(ends) == 1:
                raise ValueError(f"{name}: one end; give two, or leave it out")
        if self.seeds and self.files:
            raise ValueError("seeds and files: both are where the frames begin; give one of them")
        if (self.texts and self.text is not None) or (self.labels and self.label is not None):
            raise ValueError("one condition from end to end, and the same one fixed; leave one of them out")
        return self


def request(options: Interpolate, model: Model) -> Request:
    """The frames: slerp of noise or of latents, a straight line between contexts."""
    assert model.denoiser is not None  # or `why_not` has refused
    shares = [i / (options.frames - 1) for i in range(options.frames)]
    values = _values(options, model, shares)
    seeds = [options.seed] * options.frames
    names = [{"name": f"frame-{i:04d}", "share": f"{share:.6g}"} for i, share in enumerate(shares)]
    if options.files:
        first, last = _ends(options, model)
        place = whole(first.size, multiple_of(model))

        def between() -> Tensor:
            start, end = (model.encode(place.cut(picture.image)[None]) for picture in (first, last))
            return slerp(start, end, shares)

        return Request(
            values,
            seeds,
            place.size,
            begin=noised(model, between, seeds, options.strength),
            back=partial(_uncut, place),
            facts=names,
            units=[first.own] * options.frames,
            notes=first.notes + last.notes,
        )
    size = fitting_size(options.size, model)
    if not options.seeds:
        return Request(values, seeds, size, facts=names)
    start, end = (_noise(model, int(seed), size) for seed in options.seeds)
    seeds = [int(options.seeds[0])] * options.frames
    return Request(values, seeds, size, (slerp(start, end, shares), None), facts=names)


def slerp(first: Tensor, last: Tensor, shares: list[float]) -> Tensor:
    """Points on the arc from (1, c, h, w) to (1, c, h, w), (B, c, h, w): of equal lengths where the ends have them.

    Source: Shoemake 1985, "Animating rotation with quaternion curves", section 3.3; on the line where there is no arc.
    """
    import torch

    share = torch.tensor(shares, device=first.device).view(-1, 1, 1, 1)
    angle = ((first * last).sum() / (first.norm() * last.norm()).clamp(min=1e-30)).clamp(-1, 1).arccos()
    arc = angle.sin() > 1e-3
    of_first, of_last = (((part * angle).sin() / angle.sin()) for part in (1 - share, share))
    return torch.where(arc, of_first, 1 - share) * first + torch.where(arc, of_last, share) * last


def _values(options: Interpolate, model: Model, shares: list[float]) -> dict[str, Any]:
    """For each condition a value a frame: those that are fixed, and those between two ends."""
    from latentry.conditioning.base import Blend

    assert model.denoiser is not None
    two = {"text": options.texts, "label": options.labels}
    ends = [{name: pair[i] for name, pair in two.items() if pair} for i in (0, 1)]
    both = []
    for end in ends:
        values, _ = values_and_seeds(options.model_copy(update={**end, "frames": 1}), model)
        both.append(model.denoiser.guessed(values))
    first, last = both
    return {
        name: [first[name][0] if first[name] == last[name] else Blend(first[name][0], last[name][0], s) for s in shares]
        for name in first
    }


def _noise(model: Model, seed: int, size: tuple[int, int]) -> Tensor:
    """What `sample` begins with, (1, c, h, w)."""
    from latentry import rng

    factor = model.autoencoder.factor
    shape = (model.autoencoder.latent_channels, size[0] // factor, size[1] // factor)
    return rng.normal(seed, "sampling start", [0], 0, shape).to(model.device)


def _ends(options: Interpolate, model: Model) -> tuple[GivenImage, GivenImage]:
    """Both files. Raises UsageError where they are of different sizes."""
    first, last = (read_image(path, model.config.data) for path in options.files)
    if first.size != last.size:
        sizes = " and ".join(f"{end.size[0]}x{end.size[1]}" for end in (first, last))
        raise UsageError(f"--images: {sizes} pixels; accepted: two images of one size. Crop or resize one.")
    return first, last


def _uncut(place: Window, images: Tensor) -> Tensor:
    return place.uncut(images)


TASK = Task(Interpolate, request, why_not=no_denoiser)
