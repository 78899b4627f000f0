"""Denoising in tiles that overlap, for latents larger than the network can or should see at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoisers
from latentry.diffusion.schedule import Level
from latentry.windows import Window, starts

At = Callable[[Window], Denoisers]
"""A window of the latent -> the predictions there: what a condition says of places (concat) is cropped to it, context
and vector are the whole image's."""


def tiled(at: At, side: int, overlap: int) -> Denoisers:
    """Predict x0 tile by tile; where tiles overlap, the mean, in which a tile counts less towards its border.

    at: makes the predictions of a window. side: of a tile, in latent pixels. overlap: of neighbours, at least, below
    `side`. A latent no larger than a tile is seen whole. The network's memory is that of one tile, whatever the size.
    Source: Bar-Tal et al. 2023, "MultiDiffusion", eq. 5: the mean of x0 is that of every solver's step, which is affine
    in it. Weights fall linearly over the overlap, so that predictions that differ pass into each other without a seam.
    """

    def denoisers(x: Tensor, level: Level) -> tuple[Tensor, ...]:
        height, width = x.shape[-2:]
        if max(height, width) <= side:
            return at(Window(0, height, 0, width))(x, level)
        rows, columns = (_shares(length, side, overlap, x) for length in (height, width))
        sums: list[Tensor] = []
        for (top, bottom), down in rows:
            for (left, right), across in columns:
                parts = at(Window(top, bottom, left, right))(x[..., top:bottom, left:right], level)
                sums = sums or [torch.zeros_like(x) for _ in parts]
                for total, part in zip(sums, parts, strict=True):
                    total[..., top:bottom, left:right] += part * down[:, None] * across
        return tuple(sums)

    return denoisers


def _shares(length: int, side: int, overlap: int, like: Tensor) -> list[tuple[tuple[int, int], Tensor]]:
    """The tiles along one side as (first, end), with the shares of the mean that their pixels have."""
    spans = [(first, min(first + side, length)) for first in starts(length, side, overlap)]
    weights, total = [], torch.zeros(length, dtype=torch.float64)
    for first, end in spans:
        weight = torch.ones(end - first, dtype=torch.float64)
        ramp = torch.arange(1, overlap + 1, dtype=torch.float64) / (overlap + 1)
        if first > 0 and overlap:
            weight[:overlap] = ramp
        if end < length and overlap:
            weight[-overlap:] = torch.minimum(weight[-overlap:], ramp.flip(0))
        weights.append(weight)
        total[first:end] += weight
    return [
        ((first, end), (weight / total[first:end]).to(like))
        for (first, end), weight in zip(spans, weights, strict=True)
    ]
