"""Denoising in tiles that overlap, for latents larger than the network can or should see at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoisers
from latentry.diffusion.schedule import Level
from latentry.windows import Window, starts

At = Callable[[Sequence[Window]], Denoisers]
"""Windows of the latent, of one size -> the predictions there, one after another: what a condition says of places
(concat) is cropped to them, context and vector are the whole image's."""


def tiled(at: At, side: int, overlap: int, together: int = 1) -> Denoisers:
    """Predict x0 tile by tile; where tiles overlap, the mean, in which a tile counts less towards its border.

    at: makes the predictions of windows. side: of a tile, in latent pixels. overlap: of neighbours, at least, below
    `side`. together: so many tiles are predicted at once, so that the network's memory is that of so many, whatever the
    size. A latent no larger than a tile is seen whole.
    Source: Bar-Tal et al. 2023, "MultiDiffusion", eq. 5: the mean of x0 is that of every solver's step, which is affine
    in it. Weights fall linearly over the overlap, so that predictions that differ pass into each other without a seam.
    """

    def denoisers(x: Tensor, level: Level) -> tuple[Tensor, ...]:
        height, width = x.shape[-2:]
        if max(height, width) <= side:
            return at([Window(0, height, 0, width)])(x, level)
        sums: list[Tensor] = []
        every = _tiles(height, width, side, overlap, x)
        while tiles := [*islice(every, together)]:
            windows = [window for window, _ in tiles]
            parts = at(windows)(torch.cat([window.of(x) for window in windows]), level)
            sums = sums or [torch.zeros_like(x) for _ in parts]
            for total, part in zip(sums, parts, strict=True):
                for (window, shares), tile in zip(tiles, part.chunk(len(tiles)), strict=True):
                    window.of(total).add_(tile * shares)
        return tuple(sums)

    return denoisers


def _tiles(height: int, width: int, side: int, overlap: int, like: Tensor) -> Iterator[tuple[Window, Tensor]]:
    """The tiles of a map, row by row, each with the shares (h, w) of the mean that its pixels have."""
    rows, columns = (_shares(length, side, overlap, like) for length in (height, width))
    for ((top, bottom), down), ((left, right), across) in product(rows, columns):
        yield Window(top, bottom, left, right), down[:, None] * across


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
