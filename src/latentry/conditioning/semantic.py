"""A semantic map: which class each pixel is of, shrunk to the latent's size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from latentry.bounds import Width
from latentry.conditioning.arrays import Arrays, numbers
from latentry.conditioning.base import BuildContext, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.data.sample import Sample
from latentry.kinds import KindOptions


class SemanticOptions(KindOptions):
    """Options of `semantic`; the defaults are those of the paper's landscape model.

    classes: of the maps. channels: of what is concatenated, a learned mixture of the classes; null: the classes as
    they are. stages: how often the map is halved, so f = 2^stages.
    """

    kind: Literal["semantic"] = "semantic"
    classes: Width = 182
    channels: Width | None = 3
    stages: int = Field(default=2, ge=0, le=12)


class Semantic(Arrays):
    """Maps of class numbers (H, W), or shares of each class (classes, H, W), to channels beside the latent.

    Source: Rombach et al. 2022, section 4.3.2; halved by bilinear interpolation without smoothing, as published.
    """

    reads = frozenset({"semantic"})

    def __init__(self, options: SemanticOptions) -> None:
        super().__init__()
        self.options: SemanticOptions = options
        self.takes = f"a map (H, W) of classes from 0 to {options.classes - 1}, or shares ({options.classes}, H, W)"
        self.concat_channels = options.channels or options.classes
        self.project = nn.Conv2d(options.classes, options.channels, 1, bias=False) if options.channels else None

    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> NDArray[np.int64] | None:
        return sample.semantic

    def tensors(self, value: Any) -> tuple[Tensor]:
        map_, o = numbers(value, 2, 3), self.options
        if map_.ndim == 3 and map_.shape[0] != o.classes:
            raise ValueError(f"a map of shape {tuple(map_.shape)}")
        if min(map_.shape[-2:]) < 2**o.stages:
            raise ValueError(f"a map of {map_.shape[-2]}x{map_.shape[-1]}, which cannot be halved {o.stages} times")
        if map_.ndim == 3:
            return (map_.float(),)
        low, high = map_.min().item(), map_.max().item()
        if not (low >= 0 and high < o.classes):  # on a GPU, one_hot of another class ends the process
            raise ValueError(f"a map of classes from {low:g} to {high:g}")
        return (F.one_hot(map_.long().to(self.device), o.classes).movedim(-1, 0).float(),)  # (classes, H, W)

    def read(self, *columns: Tensor) -> Cond:
        (shares,) = columns  # (B, classes, H, W)
        if self.project is not None:
            shares = shares.to(self.project.weight)
        for _ in range(self.options.stages):
            shares = F.interpolate(shares, scale_factor=0.5, mode="bilinear", align_corners=False)
        return Cond(concat=shares if self.project is None else self.project(shares))  # (B, C, h, w)


def build(options: SemanticOptions, context: BuildContext) -> Semantic:
    """Build from options alone."""
    return Semantic(options)


KIND = ConditionerKind(SemanticOptions, build, Semantic)
