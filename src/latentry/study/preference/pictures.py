"""Images as the page shows them: PNG of 8 bits, without a word of where they come from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentry import rng
from latentry.data.files import images
from latentry.data.files.header import BadImage
from latentry.data.files.saving import quantise
from latentry.errors import UsageError

Pixels = NDArray[np.uint8]
TILES = 8  # a side of a spoilt image
NOISE = 90.0  # its standard deviation, of 255


def picture(role: str, path: Path) -> Pixels:
    """(H, W, 1 or 3) in 8 bits: the first three of many bands, two of them side by side, transparency on white.

    role: names the option in errors. Errors: `UsageError`, one line.
    """
    try:
        header, array = images.picture(path)
    except BadImage as error:
        raise UsageError(f"--{role}: {error}. Repair or replace it.") from None
    values = array.astype(np.float32) / (1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max)
    if header.alpha:
        values, alpha = values[..., :-1], values[..., -1:]
        values = values * alpha + 1 - alpha
    if values.shape[2] == 2:
        values = np.concatenate([values[..., :1], values[..., 1:]], axis=1)
    return quantise(values[..., : 3 if values.shape[2] >= 3 else 1], 8).astype(np.uint8)


def png(pixels: Pixels) -> bytes:
    """The bytes of the file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def spoilt(pixels: Pixels, seed: int, number: int) -> Pixels:
    """An image that nobody who looks prefers: its squares shuffled, and noise over all. number: of the check."""
    random = rng.generator(seed, "preference/spoilt", number)
    height, width = (max(1, side // TILES) for side in pixels.shape[:2])
    rows, columns = pixels.shape[0] // height, pixels.shape[1] // width
    corners = [(y * height, x * width) for y in range(rows) for x in range(columns)]
    result: NDArray[Any] = pixels.astype(np.float64)
    for (y, x), place in zip(corners, random.permutation(len(corners)).tolist(), strict=True):
        v, u = corners[place]
        result[y : y + height, x : x + width] = pixels[v : v + height, u : u + width]
    noisy = result + NOISE * random.standard_normal(result.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
