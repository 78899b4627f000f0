"""Gaussian blur, round or stretched in any direction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latentry.data.degrade.resize import Image

Kernel = NDArray[np.float64]
"""(k, k), sums to 1."""


def covariance(along: float, across: float, angle: float) -> NDArray[np.float64]:
    """(2, 2) over (y, x), in pixels squared, with variance `along` in the direction of `angle` from x towards y."""
    y, x = np.sin(angle), np.cos(angle)
    turn = np.array([[y, x], [x, -y]])  # its columns: along, across
    return np.asarray(turn @ np.diag([along, across]) @ turn.T)


def gaussian(size: int, spread: NDArray[np.float64], centre: float = 0.0) -> Kernel:
    """The density of a normal distribution at whole pixels, (size, size), normalised.

    spread: covariance (2, 2) over (y, x). centre: in y and x, from the middle of the kernel.
    """
    offsets = np.arange(size) - (size - 1) / 2 - centre
    points = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1)  # (size, size, 2)
    exponent = -0.5 * np.einsum("yxi,ij,yxj->yx", points, np.linalg.inv(spread), points)
    kernel = np.exp(exponent - exponent.max())  # a very narrow one is a single pixel, not 0 / 0
    return np.asarray(kernel / kernel.sum())


def blur(image: Image, kernel: Kernel) -> Image:
    """The convolution of every channel of (C, H, W) with a kernel of odd size, mirrored at the edges."""
    margin = kernel.shape[0] // 2
    padded = np.pad(image, [(0, 0), (margin, margin), (margin, margin)], mode="reflect")
    size = padded.shape[1:]
    whole = np.fft.irfft2(np.fft.rfft2(padded) * np.fft.rfft2(kernel, size), size)
    return np.asarray(whole[:, 2 * margin :, 2 * margin :], np.float32)
