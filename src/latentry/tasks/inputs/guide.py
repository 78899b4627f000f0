"""Guiding images: files that samples of any model are to look like (Rombach et al. 2022, appendix C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from latentry.diffusion.contracts import Denoise
from latentry.diffusion.guidance.image import image
from latentry.errors import LatentryError, UsageError
from latentry.models.model import Model
from latentry.nn import lpips
from latentry.tasks.inputs.images import GivenImage, read_image
from latentry.tasks.task import PerImage

NET: Literal["squeezenet"] = "squeezenet"
Likelihood = Callable[[Tensor, Tensor], Tensor]
"""(x0 (B, c, h, w), what it is to be like (B, ...)) -> log p, (B,)."""


def guided_by(
    paths: Sequence[Path], scale: float, loss: str, model: Model, size: tuple[int, int], count: int
) -> tuple[PerImage, list[dict[str, str]], tuple[str, ...]]:
    """The wrap for `count` images of `size` (H, W), what their files say of it, and notes on the guides.

    paths: one image for all, or one for each, none larger than the samples and all of one size. loss: of `LIKELIHOODS`.
    Raises UsageError for other images, and for a model that the loss cannot compare.
    """
    if len(paths) not in (1, count):
        raise UsageError(f"guide: {len(paths)} images for {count} samples; give one, or as many")
    read = [_read(path, model) for path in paths]
    given = [one.image for one in read]
    for path, one in zip(paths, given, strict=True):
        _check(path, one, given[0], size)
    targets, likelihood = LIKELIHOODS[loss](model, torch.stack(given), size)

    def make(held: Tensor) -> Callable[[Denoise], Denoise]:
        return lambda denoise: image(denoise, lambda x0: likelihood(x0, held.to(x0)), scale)

    facts = [{"guide": str(path), "guide scale": f"{scale:g}", "guide loss": loss} for path in paths]
    notes = tuple(note for one in read for note in one.notes)
    return PerImage(make, targets.expand(count, -1, -1, -1)), facts * (count // len(paths)), notes


def _read(path: Path, model: Model) -> GivenImage:
    try:
        return read_image(path, model.config.data)
    except UsageError as error:
        raise UsageError(f"guide: {error}") from None


def _check(path: Path, given: Tensor, first: Tensor, size: tuple[int, int]) -> None:
    (height, width), (full_height, full_width) = given.shape[-2:], size
    if given.shape != first.shape:
        raise UsageError(
            f"guide: {path}: {height}x{width}, the first is {first.shape[-2]}x{first.shape[-1]}; give one size for all"
        )
    if height > full_height or width > full_width:
        raise UsageError(
            f"guide: {path}: {height}x{width}, larger than the samples, {full_height}x{full_width}. "
            "Give it smaller, or a larger --size."
        )
    if abs(height * full_width - width * full_height) > max(size):  # a side rounded to pixels
        raise UsageError(
            f"guide: {path}: {height}x{width} is in another proportion than the samples, {full_height}x{full_width}. "
            "Crop it, or give its proportion as --size."
        )


def _pixels(model: Model, images: Tensor, size: tuple[int, int]) -> tuple[Tensor, Likelihood]:
    def likelihood(x0: Tensor, target: Tensor) -> Tensor:
        return _half_squares(target - as_small(model.autoencoder.decode(x0), target))

    return images, likelihood


def _latents(model: Model, images: Tensor, size: tuple[int, int]) -> tuple[Tensor, Likelihood]:
    """The guide as large as the samples, encoded; then the latents of both are made small.

    A first stage has learnt images of the samples' size: what it encodes of a small one is another thing.
    """
    large = F.interpolate(images, size, mode="bicubic", antialias=True)
    latents = torch.cat([model.encode(one[None]) for one in large])
    sides = zip(latents.shape[-2:], images.shape[-2:], size, strict=True)
    small = [max(1, round(side * given / full)) for side, given, full in sides]
    target = as_small(latents, latents.new_zeros(1, 1, *small))
    return target, lambda x0, target: _half_squares(target - as_small(x0, target))


def _lpips(model: Model, images: Tensor, size: tuple[int, int]) -> tuple[Tensor, Likelihood]:
    data, smallest = model.config.data, lpips.NETS[NET]().smallest
    if data.channels not in (1, 3, 4) or (data.channels == 4 and not data.alpha):
        raise UsageError(
            f"guide: lpips compares grey and colour images, and this model's have {data.channels} channels; "
            "accepted: pixels or latents. Use --guide-loss pixels."
        )
    if min(images.shape[-2:]) < smallest:
        raise UsageError(
            f"guide: {images.shape[-2]}x{images.shape[-1]} is too small for lpips, whose network needs sides of at "
            f"least {smallest}. Give a larger image, or --guide-loss pixels."
        )
    try:
        distance = lpips.load(NET).to(model.device)
    except LatentryError as error:
        raise UsageError(f"guide: lpips: {error} Or use --guide-loss pixels.") from None

    def likelihood(x0: Tensor, target: Tensor) -> Tensor:
        """As the squared distance has it, LPIPS in place of the mean of squares."""
        found = as_small(model.autoencoder.decode(x0), target)
        return -0.5 * target[0].numel() * distance(lpips.to_rgb(found), lpips.to_rgb(target))

    return images, likelihood


LIKELIHOODS = {"pixels": _pixels, "latents": _latents, "lpips": _lpips}
"""By loss, from the model, images (n, C, h, w) and the samples' size: what x0 is compared with, (n, ...), and how."""


def as_small(x: Tensor, target: Tensor) -> Tensor:
    """T of eq. 17: bicubic with antialiasing, as Pillow's."""
    if x.shape[-2:] == target.shape[-2:]:
        return x
    return F.interpolate(x, target.shape[-2:], mode="bicubic", antialias=True)


def _half_squares(difference: Tensor) -> Tensor:
    """log p of a Gaussian with variance 1, eq. 17."""
    return -0.5 * difference.square().flatten(1).sum(1)
