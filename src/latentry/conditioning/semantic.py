"""A semantic map: which class each pixel is of, shrunk to the latent's size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from latentry.bounds import Width
from latentry.conditioning.arrays import Arrays, numbers
from latentry.conditioning.base import BuildContext, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.data.sample import Sample
from latentry.devices import sent
from latentry.errors import UsageError, shown
from latentry.kinds import KindOptions


class SemanticOptions(KindOptions):
    """Options of `semantic`; the defaults are those of the paper's landscape model.

    classes: of the maps, numbered from 0; `auto`: up to the largest number in the maps of the data. channels: of what
    is concatenated, a learned mixture of the classes; null: the classes as they are. stages: how often the map is
    halved, so f = 2^stages. rescale: `bilinear`, as published, which keeps the classes' shares in a pixel of the
    latent; or `conv`, by a convolution of all that it covers, so that also where they lie is kept; for latents of which
    a pixel covers much; it needs channels. unlabelled: the number of pixels of no class, such as 0 or 255: their share
    of every class is zero.
    """

    kind: Literal["semantic"] = "semantic"
    classes: Width | Literal["auto"] = 182
    channels: Width | None = 3
    stages: int = Field(default=2, ge=0, le=12)
    rescale: Literal["bilinear", "conv"] = "bilinear"
    unlabelled: Annotated[int, Field(ge=0, le=65_535)] | None = None

    @model_validator(mode="after")
    def _learned(self) -> SemanticOptions:
        if self.rescale == "conv" and self.channels is None:
            raise ValueError("rescale conv gives as many channels as are asked for; set channels, such as 16")
        return self


class Semantic(Arrays):
    """Maps of class numbers (H, W), or shares of each class (classes, H, W), to channels beside the latent.

    Source: Rombach et al. 2022, section 4.3.2; halved by bilinear interpolation without smoothing, as published.
    """

    reads = frozenset({"semantic"})

    def __init__(self, options: SemanticOptions) -> None:
        super().__init__()
        self.options: SemanticOptions = options
        assert options.classes != "auto"  # or `build` has counted them
        self.classes = options.classes
        none = "" if options.unlabelled is None else f" (or {options.unlabelled} for none)"
        self.takes = f"a map (H, W) of classes from 0 to {self.classes - 1}{none}, or shares ({self.classes}, H, W)"
        self.concat_channels = options.channels or self.classes
        self.shrinks: int = 2**options.stages
        covers = self.shrinks if options.rescale == "conv" else 1
        self.project = (
            nn.Conv2d(self.classes, options.channels, covers, stride=covers, bias=False) if options.channels else None
        )

    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> NDArray[np.int64] | None:
        return sample.semantic

    def asked(self, value: Any, size: tuple[int, int]) -> Any:
        """The map, if it is as large as the images are to be. Errors: `UsageError`, for an unknown class too."""
        self._columns([value])
        height, width = np.shape(value)[-2:]
        if (height, width) != size:
            raise UsageError(
                f"semantic: a map of {height}x{width} for images of {size[0]}x{size[1]}; the sizes must be the same. "
                "Give a map of that size, or leave the size out."
            )
        return value

    def tensors(self, value: Any) -> tuple[Tensor]:
        map_, o = numbers(value, 2, 3), self.options
        if map_.ndim == 3 and map_.shape[0] != self.classes:
            raise ValueError(f"a map of shape {tuple(map_.shape)}")
        if min(map_.shape[-2:]) < self.shrinks:
            raise ValueError(f"a map of {map_.shape[-2]}x{map_.shape[-1]}, which cannot be halved {o.stages} times")
        if map_.ndim == 3:
            return (map_.float(),)
        map_ = map_ if map_.is_floating_point() else map_.long()
        none = torch.zeros_like(map_, dtype=torch.bool) if o.unlabelled is None else map_ == o.unlabelled
        labelled = map_.masked_fill(none, 0)
        wrong = map_[(labelled < 0) | (labelled >= self.classes) | (labelled != labelled.floor())]
        if len(wrong):  # on a GPU, one_hot of another class ends the process
            found = ", ".join(f"{one:g}" for one in wrong.unique()[:5].tolist())
            raise ValueError(f"a map with {len(wrong)} pixels of classes that there are not ({found})")
        one_hot = F.one_hot(sent(labelled.long(), self.device), self.classes).movedim(-1, 0)  # (classes, H, W)
        return ((one_hot * ~sent(none, self.device)).float(),)

    def read(self, *columns: Tensor) -> Cond:
        (shares,) = columns  # (B, classes, H, W)
        if self.project is not None:
            shares = shares.to(self.project.weight)
        for _ in range(self.options.stages if self.options.rescale == "bilinear" else 0):
            shares = F.interpolate(shares, scale_factor=0.5, mode="bilinear", align_corners=False)
        return Cond(concat=shares if self.project is None else self.project(shares))  # (B, C, h, w)


def build(options: SemanticOptions, context: BuildContext) -> Semantic:
    """Build from options; `classes: auto` counts those of the data's maps. Errors: `UsageError` where there are none.

    A map of a class that there is not is found here and not after hours, where it is among those that are looked at.
    """
    largest, file = -1, ""
    for path, map_ in context.maps():
        labelled = map_ if options.unlabelled is None else map_[map_ != options.unlabelled]
        if labelled.size and labelled.max() > largest:
            largest, file = int(labelled.max()), path
    if options.classes != "auto":
        if largest >= options.classes:
            raise UsageError(
                f"conditioning semantic: {shown(file)} holds the class {largest}; accepted with classes "
                f"{options.classes}: 0 to {options.classes - 1}. Set classes: {largest + 1} or auto, or unlabelled."
            )
        return Semantic(options)
    if largest < 0:
        raise UsageError("conditioning semantic: classes auto, and the data has no maps to count. Give their number.")
    context.report(f"semantic: {largest + 1} classes, as the largest number in the maps is {largest} ({shown(file)})")
    return Semantic(options.model_copy(update={"classes": largest + 1}))


KIND = ConditionerKind(SemanticOptions, build, Semantic)
