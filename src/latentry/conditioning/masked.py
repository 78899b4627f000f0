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
from latentry.data.holes import KINDS, OBJECTS, draw_hole
from latentry.data.sample import Sample
from latentry.errors import UsageError
from latentry.kinds import KindOptions

MaskKind = Literal["thin", "medium", "wide", "boxes", "outpaint", "objects"]
EMPTY, FILL = np.float32(-1), np.float32(1)


class MaskedOptions(KindOptions):
    """Options of `masked`.

    through: how what is left of the image reaches the denoiser: the `first_stage`, as in the paper, or `pixels`, those
    of each place of the latent as its channels, with the mask's. latent_channels: of the first stage, where the image
    passes through it; null: as many as it has. masks: what is drawn in training for images that have no mask of their
    own: a kind of `data.holes.KINDS`, `mixed`, `objects` (parts of the data's boxes), kinds by their shares, or null,
    nothing.
    """

    kind: Literal["masked"] = "masked"
    through: Literal["first_stage", "pixels"] = "first_stage"
    latent_channels: Width | None = None
    masks: MaskKind | Literal["mixed"] | Annotated[dict[MaskKind, Weight], MaxLen(len(KINDS) + 1)] | None = None

    @field_validator("masks")
    @classmethod
    def _some(cls, masks: Any) -> Any:
        if isinstance(masks, dict) and not sum(masks.values()) > 0:
            raise ValueError(
                f"no share above 0; accepted: shares of {', '.join([*KINDS, OBJECTS])}, as in {{wide: 2, boxes: 1}}"
            )
        return masks


class Masked(Arrays):
    """(image (C, H, W), mask (1, H, W)), both in [-1, 1], to what is known of the image at the latent's size.

    The image is -1 where it is to be filled, and the mask is 1 there. Through the first stage: its latent, the mean of
    the posterior, without scale and not quantised, and the mask made as small. As pixels: nothing is lost of either,
    where a latent that a border of the hole crosses knows of both sides, and a mask made small not which is which.
    encode: the first stage's, for images of `image_channels`, on the device of this module. factor: its own; None: not
    known, as where nothing is encoded. latent_channels: of it, for options that leave them to it; None: not known,
    then 3.
    Source: Rombach et al. 2022, section 4.5; pixels: Shi et al. 2016, section 3.2, backwards (space to depth).
    """

    reads = frozenset({"image"})
    may_read = frozenset({"mask", "boxes"})
    takes = "a pair: the image (C, H, W) in [-1, 1] with -1 in the hole, and a mask (1, H, W), 1 in the hole, else -1"

    def __init__(
        self,
        options: MaskedOptions,
        encode: Callable[[Tensor], Tensor] | None,
        image_channels: int | None = None,
        factor: int | None = None,
        latent_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.latent_channels = options.latent_channels or latent_channels or 3
        self.options: MaskedOptions = options.model_copy(update={"latent_channels": self.latent_channels})
        self.first_stage, self.image_channels = encode, image_channels
        self.folded = (factor or 1) if options.through == "pixels" else 0
        folded = ((image_channels or 3) + 1) * self.folded**2
        self.concat_channels = folded or self.latent_channels + 1

    @classmethod
    def further(cls, options: KindOptions, name: str, factor: int) -> dict[str, Any]:
        own = options.model_dump()
        return own | {"masks": own["masks"] or "boxes"}

    @classmethod
    def needs(cls, options: KindOptions) -> frozenset[str]:
        masks = getattr(options, "masks", None)
        drawn_from = frozenset({"boxes"}) if masks and OBJECTS in masks else frozenset()
        return cls.reads | drawn_from if masks else cls.reads | {"mask"}

    def value(
        self, sample: Sample, rng: Callable[[], np.random.Generator]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        image = sample.image.numpy()  # (C, H, W)
        hole = self._drawn(sample, rng()) if sample.mask is None else sample.mask  # (H, W)
        return np.where(hole, EMPTY, image), np.where(hole, FILL, EMPTY)[None]

    def _drawn(self, sample: Sample, rng: np.random.Generator) -> NDArray[np.bool_]:
        boxes = None if sample.boxes is None else sample.boxes.corners
        height, width = sample.image.shape[1:]
        return draw_hole(self.options.masks or "boxes", height, width, rng, boxes)

    def tensors(self, value: Any) -> tuple[Tensor, Tensor]:
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise TypeError(f"a {type(value).__name__} and no pair")
        image, mask = (numbers(part, 3).float() for part in value)
        if self.image_channels not in (None, image.shape[0]):
            raise ValueError(f"an image of {image.shape[0]} channels where the model's have {self.image_channels}")
        if mask.shape[0] != 1:
            raise ValueError(f"a mask of {mask.shape[0]} channels")
        if self.folded and any(side % self.folded for side in (*image.shape[1:], *mask.shape[1:])):
            raise ValueError(f"{image.shape[1]}x{image.shape[2]} pixels, no multiple of {self.folded}")
        return image, mask  # (C, H, W), (1, H, W)

    def read(self, *columns: Tensor) -> Cond:
        images, masks = columns  # (B, C, H, W), (B, 1, H, W)
        if self.folded:
            return Cond(concat=F.pixel_unshuffle(torch.cat([images, masks.to(images)], dim=1), self.folded))
        if self.first_stage is None:
            raise UsageError("masked: there is no first stage to pass the image through. Take a model that has one.")
        with torch.no_grad():
            latent = self.first_stage(images)  # (B, c, h, w)
        channels = self.latent_channels
        if latent.shape[1] != channels:
            raise UsageError(
                f"masked: the first stage's latent has {latent.shape[1]} channels, latent_channels is {channels}. "
                f"Set it to {latent.shape[1]}."
            )
        smaller = F.interpolate(masks.to(latent), size=latent.shape[-2:])  # (B, 1, h, w)
        return Cond(concat=torch.cat([latent, smaller], dim=1))


def build(options: MaskedOptions, context: BuildContext) -> Masked:
    """Build with the first stage of the context and what is known of it."""
    return Masked(options, context.encode, context.image_channels, context.factor, context.latent_channels)


KIND = ConditionerKind(MaskedOptions, build, Masked)
