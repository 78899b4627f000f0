"""A semantic map: which class each pixel is of, shrunk to the latent's size."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from latentry.conditioning.base import Arrays, BuildContext, stacked
from latentry.conditioning.cond import Cond
from latentry.kinds import Kind, KindOptions


class SemanticOptions(KindOptions):
    """Options of `semantic`; the defaults are those of the paper's landscape model.

    classes: of the maps. channels: of what is concatenated, a learned mixture of the classes; null: the classes as
    they are. stages: how often the map is halved, so f = 2^stages.
    """

    kind: Literal["semantic"] = "semantic"
    classes: int = Field(default=182, ge=1)
    channels: int | None = Field(default=3, ge=1)
    stages: int = Field(default=2, ge=0)


class Semantic(Arrays):
    """Maps of class numbers (H, W), or shares of each class (classes, H, W), to channels beside the latent.

    Source: Rombach et al. 2022, section 4.3.2; halved by bilinear interpolation without smoothing, as published.
    """

    def __init__(self, options: SemanticOptions) -> None:
        super().__init__()
        self.options: SemanticOptions = options
        self.takes = f"a map (H, W) of classes from 0 to {options.classes - 1}, or shares ({options.classes}, H, W)"
        self.concat_channels = options.channels or options.classes
        self.project = nn.Conv2d(options.classes, options.channels, 1, bias=False) if options.channels else None

    def read(self, values: list[Any]) -> Cond:
        shares = stacked([self._shares(value) for value in values], 3)  # (B, classes, H, W)
        if self.project is not None:
            shares = shares.to(self.project.weight)
        for _ in range(self.options.stages):
            shares = F.interpolate(shares, scale_factor=0.5, mode="bilinear", align_corners=False)
        return Cond(concat=shares if self.project is None else self.project(shares))  # (B, C, h, w)

    def _shares(self, value: Any) -> Tensor:
        tensor = torch.as_tensor(value)
        if tensor.ndim == 2:
            return F.one_hot(tensor.long(), self.options.classes).movedim(-1, 0).float()
        if tensor.shape[0] != self.options.classes:
            raise ValueError(f"a map of shape {tuple(tensor.shape)}")
        return tensor.float()


def build(options: SemanticOptions, context: BuildContext) -> Semantic:
    """Build from options alone."""
    return Semantic(options)


KIND = Kind(SemanticOptions, build)
