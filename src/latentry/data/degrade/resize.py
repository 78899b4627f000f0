"""Images of other sizes: bicubic against aliasing, and the interpolations that alias."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import PIL.Image
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""(C, H, W)."""
Weights = NDArray[np.float64]
"""(new, old): of each new pixel the shares of the old ones, which sum to 1."""
BICUBIC = PIL.Image.Resampling.BICUBIC


def bicubic(image: Image, size: tuple[int, int]) -> Image:
    """To (h, w) by Pillow's bicubic filter in fp32, widened when it shrinks, so that nothing aliases."""
    bands = [PIL.Image.fromarray(np.ascontiguousarray(band)).resize(size[::-1], BICUBIC) for band in image]
    return np.stack([np.asarray(band) for band in bands])


def interpolated(image: Image, size: tuple[int, int], kind: str) -> Image:
    """To (h, w) by `KINDS[kind]`, as cameras' and web sites' software does: `linear` and `cubic` are never widened."""
    rows, columns = (KINDS[kind](old, new).astype(np.float32) for old, new in zip(image.shape[1:], size, strict=True))
    return np.asarray(rows @ image @ columns.T)


def _taps(old: int, new: int, reach: int, share: Callable[[Weights], Weights]) -> Weights:
    """The 2 `reach` nearest pixels of each new centre, by their distance; the edge is repeated."""
    at = (np.arange(new) + 0.5) * old / new - 0.5
    taps = np.floor(at).astype(int)[:, None] + np.arange(1 - reach, 1 + reach)
    weights = np.zeros((new, old))
    np.add.at(weights, (np.arange(new)[:, None], taps.clip(0, old - 1)), share(np.abs(at[:, None] - taps)))
    return weights


def linear(old: int, new: int) -> Weights:
    """Between the two nearest pixels."""
    return _taps(old, new, 1, lambda distance: 1 - distance)


def cubic(old: int, new: int) -> Weights:
    """Between the four nearest pixels, by Keys' kernel with a = -0.75. Source: Keys 1981, eq. 4."""
    a = -0.75

    def share(x: Weights) -> Weights:
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        return np.where(x <= 1, near, a * (x**3 - 5 * x**2 + 8 * x - 4))

    return _taps(old, new, 2, share)


def area(old: int, new: int) -> Weights:
    """The mean of what each new pixel covers."""
    edges, pixels = np.arange(new + 1) * old / new, np.arange(old)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(covered.clip(0) * new / old)


KINDS: dict[str, Callable[[int, int], Weights]] = {"linear": linear, "cubic": cubic, "area": area}
