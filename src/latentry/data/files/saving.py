"""Images out: PNG for up to four channels, TIFF beyond, rounded to nearest, with the text they carry."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from latentry.data.files.formats import png16
from latentry.errors import UsageError

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_TIFF_SUFFIXES = (".tif", ".tiff")


def quantise(array: NDArray[np.floating], depth: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Values in [0, 1] (clipped to it) to the nearest 8- or 16-bit number. Raises `UsageError` for other depths."""
    if depth not in (8, 16):
        raise UsageError(f"depth: {depth}; images are saved with 8 or 16 bits a channel.")
    if not np.isfinite(array).all():
        raise UsageError("image to save: it holds values that are not finite (NaN or infinity).")
    top = 2**depth - 1
    whole = np.rint(np.clip(array.astype(np.float64), 0, 1) * top)
    return whole.astype(np.uint8) if depth == 8 else whole.astype(np.uint16)


def default_suffix(channels: int) -> str:
    """`.png` where PNG can hold the channels, else `.tif`."""
    return ".png" if channels in _MODES else ".tif"


def save(
    path: str | os.PathLike[str],
    array: NDArray[np.floating],
    depth: int = 8,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write one image.

    path: ending in .png (1 to 4 channels) or .tif/.tiff (any number). array: (H, W, C) in [0, 1]. depth: 8 or 16.
    metadata: text by name; PNG text chunks, or JSON in a TIFF's ImageDescription. Returns the path.
    Raises `UsageError` where the format cannot hold the channels.
    """
    path = Path(path)
    pixels = quantise(np.atleast_3d(array), depth)
    text = dict(metadata or {})
    channels = pixels.shape[2]
    if path.suffix.lower() in _TIFF_SUFFIXES:
        _save_tiff(path, pixels, text)
    elif path.suffix.lower() != ".png" or channels not in _MODES:
        suffixes = ".png, .tif, .tiff" if channels in _MODES else ".tif, .tiff"
        raise UsageError(f'{path}: an image of {channels} channels is saved as {suffixes}, not "{path.suffix}".')
    elif depth == 16:
        png16.write(path, pixels.astype(np.uint16), text)
    else:
        info = PngImagePlugin.PngInfo()
        for key, value in text.items():
            info.add_itxt(key, value)
        flat = pixels[..., 0] if channels == 1 else pixels
        Image.fromarray(np.ascontiguousarray(flat), _MODES[channels]).save(path, "PNG", pnginfo=info)
    return path


def _save_tiff(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16], text: Mapping[str, str]) -> None:
    channels = pixels.shape[2]
    tifffile.imwrite(
        path,
        pixels if channels > 1 else pixels[..., 0],
        photometric="rgb" if channels in (3, 4) else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels == 4 else None,
        compression="zlib",
        description=json.dumps(dict(text), ensure_ascii=True),
        metadata=None,
    )
