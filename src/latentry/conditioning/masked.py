"""An image with a hole: what is left of it, as a latent, and where the hole is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import MaxLen
from numpy.typing import NDArray
from pydantic import field_validator
from torch import Tensor

from latentry.bounds import Weight, Width
from latentry.conditioning.arrays import Arrays, numbers
from latentry.conditioning.base import BuildContext, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.data.holes import KINDS, draw_hole
from latentry.data.sample import Sample
from latentry.errors import UsageError
from latentry.kinds import KindOptions

MaskKind = Literal["thin", "medium", "wide", "boxes", "outpaint"]
EMPTY, FILL = np.float32(-1), np.float32(1)


class MaskedOptions(KindOptions):
    """Options of `masked`.

    latent_channels: of the first stage, through which the image passes. masks: what is drawn in training for images
    that have no mask of their own: a kind of `data.holes.KINDS`, `mixed`, kinds by their shares, or null, nothing.
    """

    kind: Literal["masked"] = "masked"
    latent_channels: Width = 3
    masks: MaskKind | Literal["mixed"] | Annotated[dict[MaskKind, Weight], MaxLen(len(KINDS))] | None = None

    @field_validator("masks")
    @classmethod
    def _some(cls, masks: Any) -> Any:
        if isinstance(masks, dict) and not sum(masks.values()) > 0:
            raise ValueError(f"no share above 0; accepted: shares of {', '.join(KINDS)}, as in {{wide: 2, boxes: 1}}")
        return masks


class Masked(Arrays):
    """(image (C, H, W), mask (1, H, W)), both in [-1, 1], to the image's latent and the mask at its size.

    The image is -1 where it is to be filled, and the mask is 1 there. The latent is the mean of the posterior, without
    scale and not quantised. encode: the first stage's, for images of `image_channels`, on the device of this module.
    Source: Rombach et al. 2022, section 4.5.
    """

    reads = frozenset({"image"})
    may_read = frozenset({"mask"})
    takes = "a pair: the image (C, H, W) in [-1, 1] with -1 in the hole, and a mask (1, H, W), 1 in the hole, else -1"

    def __init__(
        self, options: MaskedOptions, encode: Callable[[Tensor], Tensor] | None, image_channels: int | None = None
    ) -> None:
        super().__init__()
        self.options: MaskedOptions = options
        self.first_stage, self.image_channels = encode, image_channels
        self.concat_channels = options.latent_channels + 1

    @classmethod
    def further(cls, options: KindOptions, name: str, factor: int) -> dict[str, Any]:
        own = options.model_dump()
        return own | {"masks": own["masks"] or "boxes"}

    @classmethod
    def needs(cls, options: KindOptions) -> frozenset[str]:
        return cls.reads if getattr(options, "masks", None) else cls.reads | cls.may_read

    def value(
        self, sample: Sample, rng: Callable[[], np.random.Generator]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        image = sample.image.numpy()  # (C, H, W)
        hole = self._drawn(image.shape[1], image.shape[2], rng()) if sample.mask is None else sample.mask  # (H, W)
        return np.where(hole, EMPTY, image), np.where(hole, FILL, EMPTY)[None]

    def _drawn(self, height: int, width: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        return draw_hole(self.options.masks or "boxes", height, width, rng)

    def tensors(self, value: Any) -> tuple[Tensor, Tensor]:
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise TypeError(f"a {type(value).__name__} and no pair")
        image, mask = (numbers(part, 3).float() for part in value)
        if self.image_channels not in (None, image.shape[0]):
            raise ValueError(f"an image of {image.shape[0]} channels where the model's have {self.image_channels}")
        if mask.shape[0] != 1:
            raise ValueError(f"a mask of {mask.shape[0]} channels")
        return image, mask  # (C, H, W), (1, H, W)

    def read(self, *columns: Tensor) -> Cond:
        images, masks = columns  # (B, C, H, W), (B, 1, H, W)
        if self.first_stage is None:
            raise UsageError("masked: there is no first stage to pass the image through. Take a model that has one.")
        with torch.no_grad():
            latent = self.first_stage(images)  # (B, c, h, w)
        channels = self.options.latent_channels
        if latent.shape[1] != channels:
            raise UsageError(
                f"masked: the first stage's latent has {latent.shape[1]} channels, latent_channels is {channels}. "
                f"Set it to {latent.shape[1]}."
            )
        smaller = F.interpolate(masks.to(latent), size=latent.shape[-2:])  # (B, 1, h, w)
        return Cond(concat=torch.cat([latent, smaller], dim=1))


def build(options: MaskedOptions, context: BuildContext) -> Masked:
    """Build with the first stage of the context; without one only its shapes are of use."""
    return Masked(options, context.encode, context.image_channels)


KIND = ConditionerKind(MaskedOptions, build, Masked)
