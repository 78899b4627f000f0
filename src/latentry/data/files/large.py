"""Images out that are never whole in memory: BigTIFF in tiles, which viewers and GIS programs open at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from latentry.data.files.saving import range_text, stored, tags
from latentry.data.ranges.meaning import Units


def save_tiles(
    path: Path,
    tiles: Iterable[NDArray[np.floating]],
    shape: tuple[int, int, int],
    side: int,
    depth: int = 8,
    text: Mapping[str, str] | None = None,
    *,
    alpha: bool = True,
    units: Units | None = None,
) -> None:
    """Write a TIFF of `shape` (H, W, C) from its tiles (h, w, C) in [0, 1], row by row, each as it is made.

    side: of the tiles, a multiple of 16; those at the right and bottom are as large as what is left of the image.
    Other arguments as of `saving.save`.
    """
    height, width, channels = shape
    dtype = f"uint{depth}" if units is None else units.dtype

    def padded(tile: NDArray[np.floating]) -> NDArray[np.generic]:
        pixels = stored(tile, depth, alpha, units)
        beyond = ((0, side - pixels.shape[0]), (0, side - pixels.shape[1]), (0, 0))
        whole = np.pad(pixels, beyond, mode="edge")
        return whole if channels > 1 else whole[..., 0]

    tifffile.imwrite(
        path,
        map(padded, tiles),
        shape=(height, width, channels) if channels > 1 else (height, width),
        dtype=dtype,
        bigtiff=True,
        tile=(side, side),
        maxworkers=1,
        **tags(channels, {**text, **range_text(units)} if text else {}, alpha, units),
    )
