"""An image with a hole: what is left of it, as a latent, and where the hole is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from latentry.conditioning.base import Arrays, BuildContext, stacked
from latentry.conditioning.cond import Cond
from latentry.kinds import Kind, KindOptions


class MaskedOptions(KindOptions):
    """Options of `masked`. latent_channels: of the first stage, through which the image passes."""

    kind: Literal["masked"] = "masked"
    latent_channels: int = Field(default=3, ge=1)


class Masked(Arrays):
    """(image (C, H, W), mask (1, H, W)), both in [-1, 1], to the image's latent and the mask at its size.

    The image is -1 where it is to be filled, and the mask is 1 there. The latent is the mean of the posterior, without
    scale and not quantised. encode: the first stage's. Source: Rombach et al. 2022, section 4.5.
    """

    takes = "a pair: the image (C, H, W) in [-1, 1] with -1 in the hole, and a mask (1, H, W), 1 in the hole, else -1"

    def __init__(self, options: MaskedOptions, encode: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self.options: MaskedOptions = options
        self.first_stage = encode
        self.concat_channels = options.latent_channels + 1

    def read(self, values: list[Any]) -> Cond:
        if self.first_stage is None:
            raise ValueError("there is no first stage to pass the image through")
        images, masks = (stacked([pair[i] for pair in values], 3).float() for i in (0, 1))
        with torch.no_grad():
            latent = self.first_stage(images)  # (B, c, h, w)
        if latent.shape[1] != self.options.latent_channels or masks.shape[1] != 1:
            raise ValueError(f"a latent of {latent.shape[1]} channels and a mask of {masks.shape[1]}")
        smaller = F.interpolate(masks.to(latent), size=latent.shape[-2:])  # (B, 1, h, w)
        return Cond(concat=torch.cat([latent, smaller], dim=1))


def build(options: MaskedOptions, context: BuildContext) -> Masked:
    """Build with the first stage of the context; without one only its shapes are of use."""
    return Masked(options, context.encode)


KIND = Kind(MaskedOptions, build)
