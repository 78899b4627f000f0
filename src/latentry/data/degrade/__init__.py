"""How a small image is made of a large one, for super-resolution: what a model learns to undo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from latentry.data.degrade.blind import BSR, BSR_LIGHT, degraded
from latentry.data.degrade.resize import Image, bicubic

__all__ = ["DEGRADATIONS", "Degrade", "Image", "shrunk"]

Degrade = Callable[[Image, int, Callable[[], np.random.Generator]], Image]
"""(image (C, H, W) fp32 in [-1, 1], factor that divides H and W, maker of this image's generator) -> (C, H/f, W/f)."""


def shrunk(image: Image, factor: int) -> Image:
    """The fixed degradation of section 4.4 of Rombach et al. 2022, which `factor` divides both sides for."""
    _, height, width = image.shape
    return bicubic(image, (height // factor, width // factor)).clip(-1, 1)  # the filter overshoots at edges


DEGRADATIONS: dict[str, Degrade] = {
    "bicubic": lambda image, factor, rng: shrunk(image, factor),
    "bsr": partial(degraded, strength=BSR),
    "bsr_light": partial(degraded, strength=BSR_LIGHT),
}
