"""The grey image beside the latent: what colourisation starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from latentry.conditioning.arrays import Arrays, numbers
from latentry.conditioning.base import BuildContext, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.data.sample import Sample
from latentry.errors import UsageError
from latentry.kinds import KindOptions

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Of red, green and blue. Source: Rec. ITU-R BT.601."""


class GreyOptions(KindOptions):
    """Options of `grey`.

    factor: a square of so many pixels a side is one place of the latent; null: as of the first stage.
    """

    kind: Literal["grey"] = "grey"
    factor: int | None = Field(default=None, ge=1, le=64)


class Grey(Arrays):
    """Grey images (1, H, W) in [-1, 1], each square of pixels folded into channels beside its place of the latent.

    Folded and not made smaller, so that the network sees every edge at which a colour may end; and not encoded by the
    first stage, which was trained on colours. Training makes them of the images themselves.
    latent: the first stage's factor, for options that leave it to that; None: not known, then 4.
    Source: Shi et al. 2016, "Real-time single image super-resolution", section 3.2, backwards (space to depth).
    """

    reads = frozenset({"image"})
    takes = "a grey image (1, H, W) in [-1, 1]"

    def __init__(self, options: GreyOptions, latent: int | None = None) -> None:
        super().__init__()
        self.shrinks: int = options.factor or latent or 4
        self.options: GreyOptions = options.model_copy(update={"factor": self.shrinks})
        self.concat_channels = self.shrinks**2

    @classmethod
    def further(cls, options: KindOptions, name: str, factor: int) -> dict[str, Any]:
        return options.model_dump() | {"factor": factor}

    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> NDArray[np.float32]:
        return luma(sample.image.numpy())

    def tensors(self, value: Any) -> tuple[Tensor]:
        grey = numbers(value, 3).float()  # (1, H, W)
        if grey.shape[0] != 1:
            raise ValueError(f"an image of {grey.shape[0]} channels")
        if grey.shape[1] % self.shrinks or grey.shape[2] % self.shrinks:
            raise ValueError(f"{grey.shape[1]}x{grey.shape[2]} pixels, no multiple of {self.shrinks}")
        return (grey,)

    def read(self, *columns: Tensor) -> Cond:
        (images,) = columns  # (B, 1, H, W)
        return Cond(concat=F.pixel_unshuffle(images, self.shrinks))  # (B, factor^2, h, w)


def luma(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, H, W) of red, green, blue (and transparency) in [-1, 1] to (1, H, W): what the eye sees as their lightness.

    Equal to Pillow's `convert("L")` up to rounding. Raises UsageError for images without three colours.
    Source: Rec. ITU-R BT.601, section 2.5.1.
    """
    if len(image) not in (3, 4):
        raise UsageError(f"grey: images of {len(image)} channels; accepted: red, green and blue. Train on such images.")
    return np.tensordot(LUMA, image[:3], axes=1)[None].astype(np.float32)


def build(options: GreyOptions, context: BuildContext) -> Grey:
    """Build for the factor of the context's first stage."""
    return Grey(options, context.factor)


KIND = ConditionerKind(GreyOptions, build, Grey)
