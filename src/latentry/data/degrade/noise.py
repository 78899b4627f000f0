"""Gaussian noise, with and without correlation between channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentry.data.degrade.resize import Image

INDEPENDENT, SHARED = 0.4, 0.4
"""How often each channel has noise of its own, and all channels the same; the rest has it correlated."""


def add_noise(image: Image, levels: tuple[int, int], draw: np.random.Generator) -> Image:
    """An image (C, H, W) in [0, 1] with noise of a deviation drawn from `levels`, lowest and highest in 255ths.

    Correlated noise takes the highest one. Source: Zhang et al. 2021, section 3.3.
    """
    channels, height, width = image.shape
    deviation, kind = draw.integers(*levels, endpoint=True) / 255, draw.random()
    noise: NDArray[Any]
    if kind < INDEPENDENT:
        noise = draw.standard_normal(image.shape, np.float32) * deviation
    elif kind < INDEPENDENT + SHARED:
        noise = draw.standard_normal((1, height, width), np.float32) * deviation
    else:
        mixed = root(correlation(channels, draw)) * levels[1] / 255
        noise = np.tensordot(mixed, draw.standard_normal(image.shape, np.float32), 1)
    return np.asarray(image + noise, np.float32)


def correlation(channels: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """A covariance of channels (C, C): |U' D U| of a random rotation U and a diagonal D in [0, 1]."""
    rotation, _ = np.linalg.qr(draw.standard_normal((channels, channels)))
    return np.asarray(np.abs(rotation.T @ np.diag(draw.random(channels)) @ rotation))


def root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """R with R R' = matrix, (C, C) and symmetric; without what is negative of it, which absolute values may leave."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(values.clip(0)))
