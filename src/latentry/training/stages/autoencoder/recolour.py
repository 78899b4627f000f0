"""Training images in other colours, so that what a latent says of a colour does not hang on what had that colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from latentry import rng

STREAM = "recolour"


def recoloured(x: Tensor, share: float, seed: int, places: Sequence[int], step: int, *, alpha: bool) -> Tensor:
    """Images (B, C, H, W) in [-1, 1], of which about `share` have their channels reordered and each inverted or not.

    These are the symmetries of the cube of colours, so no value leaves the range and grey stays grey. places: of the
    images in the global batch, by which they draw. alpha: the last channel is transparency, which stays as it is.
    """
    if not share:
        return x
    channels = x.shape[1] - alpha
    order = np.tile(np.arange(x.shape[1]), (len(places), 1))
    sign = np.ones(order.shape, dtype=np.float32)
    for row, place in enumerate(places):
        draw = rng.generator(seed, STREAM, place, step)
        if draw.random() < share:
            order[row, :channels] = draw.permutation(channels)
            sign[row, :channels] = draw.choice((-1.0, 1.0), channels)
    rows = torch.arange(len(places), device=x.device)[:, None]
    signs = torch.from_numpy(sign).to(x)[..., None, None]
    return x[rows, torch.from_numpy(order).to(x.device)] * signs
