"""Clipping, for models whose latent is the image."""

from __future__ import annotations

from latentry.diffusion.contracts import Denoise


def clipped(denoise: Denoise, low: float = -1.0, high: float = 1.0) -> Denoise:
    """Hold every predicted x0 inside [low, high], where x0 is an image itself (Ho et al. 2020)."""
    return lambda x, level: denoise(x, level).clamp(low, high)
