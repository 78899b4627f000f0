"""An image at the latent's size beside the latent: the low-resolution input of super-resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from latentry.bounds import Width
from latentry.conditioning.arrays import Arrays, numbers
from latentry.conditioning.base import BuildContext, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.data.sample import Sample
from latentry.errors import UsageError
from latentry.kinds import KindOptions

BICUBIC = PIL.Image.Resampling.BICUBIC
"""Widened when shrinking, against aliasing; in float32 for float images."""


class ImageOptions(KindOptions):
    """Options of `image`.

    channels: of the image. factor: of training, where the small image is made from the large one: how many times
    smaller each side is, as the latent's is (4 in the published models). null: nothing is made, and it is not trained.
    """

    kind: Literal["image"] = "image"
    channels: Width = 3
    factor: int | None = Field(default=None, ge=1, le=4096)


class Image(Arrays):
    """Images (C, h, w) in [-1, 1], as large as the latent, are concatenated as they are.

    Source: Rombach et al. 2022, section 4.4.
    """

    reads = frozenset({"image"})
    remedy = "Set its `factor`, for a smaller copy of each image"

    def __init__(self, options: ImageOptions) -> None:
        super().__init__()
        self.options: ImageOptions = options
        self.takes = f"a tensor ({options.channels}, h, w) in [-1, 1], as large as the latent"
        self.concat_channels = options.channels

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
                "factor to the downsampling factor of the first stage."
            )
        size = (width // factor, height // factor)
        bands = [PIL.Image.fromarray(np.ascontiguousarray(band)).resize(size, BICUBIC) for band in image]
        return np.stack([np.asarray(band) for band in bands]).clip(-1, 1)  # (C, h, w); the filter overshoots at edges

    def tensors(self, value: Any) -> tuple[Tensor]:
        image = numbers(value, 3).float()  # (C, h, w)
        if image.shape[0] != self.options.channels:
            raise ValueError(f"an image of {image.shape[0]} channels")
        return (image,)

    def read(self, *columns: Tensor) -> Cond:
        (images,) = columns  # (B, C, h, w)
        return Cond(concat=images)


def build(options: ImageOptions, context: BuildContext) -> Image:
    """Build from options alone."""
    return Image(options)


KIND = ConditionerKind(ImageOptions, build, Image)
