"""A low-resolution image beside the latent: the input of super-resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from latentry.bounds import Width
from latentry.conditioning.arrays import Arrays, numbers
from latentry.conditioning.base import BuildContext, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.data.degrade import DEGRADATIONS
from latentry.data.sample import Sample
from latentry.errors import UsageError
from latentry.kinds import KindOptions


class ImageOptions(KindOptions):
    """Options of `image`.

    channels: of the image; null: those of the model's images. factor: how many times smaller than the large image it
    is a side, in training made from it; null: as the latent is (4 times in the published models), nothing is made, and
    it is not trained.
    degradation: how it is made: `bicubic`, against aliasing (Rombach et al. 2022, section 4.4), or blindly, by blur,
    shrinking, noise and JPEG in random order: `bsr` as Zhang et al. 2021, `bsr_light` as the paper (D.6.1), which is
    less of it; JPEG only for 1 or 3 channels. null: bicubic.
    """

    kind: Literal["image"] = "image"
    channels: Width | None = 3
    factor: int | None = Field(default=None, ge=1, le=4096)
    degradation: Literal["bicubic", "bsr", "bsr_light"] | None = None


class Image(Arrays):
    """Images (C, h, w) in [-1, 1] are concatenated to the latent at its size.

    Those as large as the latent go in as they are, as in the paper. Of larger ones the pixels that lie in one of the
    latent become channels, so that nothing is lost; smaller ones are enlarged bilinearly.
    latent: how many times smaller than the large image the latent is; None: not known, as where nothing is encoded.
    channels: of the model's images, for options that leave them to it; None: not known, then 3.
    Source: Rombach et al. 2022, section 4.4.
    """

    reads = frozenset({"image"})
    remedy = "Set its `factor`, for a smaller copy of each image"

    def __init__(self, options: ImageOptions, latent: int | None = None, channels: int | None = None) -> None:
        super().__init__()
        self.channels = options.channels or channels or 3
        self.options: ImageOptions = options.model_copy(update={"channels": self.channels})
        self.folded, self.enlarged = _ratio(options.factor, latent)
        than = "as large as the latent" if not options.factor else f"{options.factor} times smaller than the images"
        self.takes = f"a tensor ({self.channels}, h, w) in [-1, 1], {than}"
        self.concat_channels = self.channels * self.folded**2

    @classmethod
    def further(cls, options: KindOptions, name: str, factor: int) -> dict[str, Any]:
        own = options.model_dump()
        return own | {"factor": own["factor"] or factor}

    @classmethod
    def needs(cls, options: KindOptions) -> frozenset[str]:
        return cls.reads if getattr(options, "factor", None) else frozenset()

    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> NDArray[np.float32]:
        image, factor = sample.image.numpy(), self.options.factor or 1  # (C, H, W)
        height, width = image.shape[1:]
        if height % factor or width % factor:
            raise UsageError(
                f"image: {height}x{width} pixels cannot be shrunk {factor} times; factor must divide both sides. Set "
                "another factor, or another data.size."
            )
        return DEGRADATIONS[self.options.degradation or "bicubic"](image, factor, rng)  # (C, h, w)

    def tensors(self, value: Any) -> tuple[Tensor]:
        image = numbers(value, 3).float()  # (C, h, w)
        if image.shape[0] != self.channels:
            raise ValueError(f"an image of {image.shape[0]} channels")
        if any(side % self.folded for side in image.shape[1:]):
            size = "x".join(map(str, image.shape[1:]))
            raise ValueError(f"an image of {size}, whose sides are no multiples of {self.folded}")
        return (image,)

    def read(self, *columns: Tensor) -> Cond:
        (images,) = columns  # (B, C, h, w)
        if self.enlarged > 1:
            images = F.interpolate(images, scale_factor=self.enlarged, mode="bilinear", align_corners=False)
        return Cond(concat=F.pixel_unshuffle(images, self.folded))


def _ratio(factor: int | None, latent: int | None) -> tuple[int, int]:
    """(How many pixels become channels, how many times the image is enlarged) along each side.

    Raises UsageError where neither of both factors divides the other.
    """
    if factor is None or latent is None:
        return 1, 1
    if latent % factor and factor % latent:
        raise UsageError(
            f"image: factor {factor} with a first stage of factor {latent}; one of them must divide the other. Set "
            f"factor to {latent}, or to a part or a multiple of it."
        )
    return max(latent // factor, 1), max(factor // latent, 1)


def build(options: ImageOptions, context: BuildContext) -> Image:
    """Build for the size of the context's latent and the channels of its images."""
    return Image(options, context.factor, context.image_channels)


KIND = ConditionerKind(ImageOptions, build, Image)
