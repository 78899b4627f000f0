"""DDIM inversion: the latents that a deterministic solver would have passed through on its way to a given image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Noise, Step
from latentry.diffusion.masking import Solve
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.walk import working


@torch.no_grad()
def inverted(denoise: Denoise, x: Tensor, levels: Sequence[Level]) -> list[Tensor]:
    """x (B, c, h, w) of the last of `levels`, carried up to the first: what it is at each, in their order.

    The noise of a step is that which the network sees in x at the level above. denoise: under the condition that
    describes the image, without guidance, for guidance leads away from the path that comes back.
    Source: Song et al. 2021, "Denoising diffusion implicit models", eq. 14; Mokady et al. 2022, section 3.2.
    """
    found = [working(x)]
    for after, level in pairwise(reversed(levels)):
        x = found[-1]
        x0 = denoise(x, level).to(x)
        eps = (x - level.alpha * x0) / level.sigma
        clean = (x - after.sigma * eps) / after.alpha
        found.append(level.alpha * clean + level.sigma * eps)
    return found[::-1]


def along(solve: Solve, denoise_source: Denoise) -> Solve:
    """A solver of pairs, an image and its edit, that begins with their clean latent, (2 or 1, c, h, w).

    The image follows its inversion, so that what comes of it is itself to the bit; its edit begins with the noise of
    that and is solved freely. solve: takes each step by itself, and deterministically.
    Source: Ju et al. 2024, "PnP Inversion: boosting diffusion-based editing with 3 lines of code", section 4.
    """

    @torch.no_grad()
    def walk(denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise, **process: Any) -> Iterator[Step]:
        path = inverted(denoise_source, x[:1], levels)
        x = path[0].expand_as(x)
        for index, kept in enumerate(path[1:]):
            step = next(solve(denoise, x, levels[index : index + 2], noise=noise, **process))
            x = torch.cat([kept, step.x[1:]])
            yield step._replace(index=index, x=x)

    return walk
