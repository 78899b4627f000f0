"""An image at the latent's size beside the latent: the low-resolution input of super-resolution."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from latentry.conditioning.arrays import Arrays, numbers
from latentry.conditioning.base import BuildContext
from latentry.conditioning.cond import Cond
from latentry.kinds import Kind, KindOptions


class ImageOptions(KindOptions):
    """Options of `image`. channels: of the image."""

    kind: Literal["image"] = "image"
    channels: int = Field(default=3, ge=1)


class Image(Arrays):
    """Images (C, h, w) in [-1, 1], as large as the latent, are concatenated as they are.

    Source: Rombach et al. 2022, section 4.4.
    """

    def __init__(self, options: ImageOptions) -> None:
        super().__init__()
        self.options: ImageOptions = options
        self.takes = f"a tensor ({options.channels}, h, w) in [-1, 1], as large as the latent"
        self.concat_channels = options.channels

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


KIND = Kind(ImageOptions, build)
