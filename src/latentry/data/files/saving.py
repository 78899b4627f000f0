"""Images out: PNG for grey, colours and transparency, TIFF for bands and other values, with the text they carry."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from latentry.data.files.formats import png16
from latentry.data.files.header import Array
from latentry.data.ranges.meaning import Units
from latentry.errors import UsageError

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_TIFF_SUFFIXES = (".tif", ".tiff")


def quantise(array: NDArray[np.floating], depth: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Values in [0, 1] (clipped to it) to the nearest 8- or 16-bit number. Raises `UsageError` for other depths."""
    if depth not in (8, 16):
        raise UsageError(f"depth: {depth}; images are saved with 8 or 16 bits a channel.")
    refuse_not_finite(array)
    top = 2**depth - 1
    whole = np.rint(np.clip(array.astype(np.float64), 0, 1) * top)
    return whole.astype(np.uint8) if depth == 8 else whole.astype(np.uint16)


def refuse_not_finite(array: NDArray[np.floating]) -> None:
    """Raise `UsageError` for an image with NaN or infinity."""
    if not np.isfinite(array).all():
        raise UsageError("image to save: it holds values that are not finite (NaN or infinity).")


def suffixes(channels: int, alpha: bool = True, units: Units | None = None) -> tuple[str, ...]:
    """The file name endings under which such images are saved, the usual one first.

    alpha: the last of 2 or 4 channels is transparency; PNG can mean nothing else by it, so bands are saved as TIFF.
    units: other than 8 or 16 bits, PNG cannot hold them.
    """
    bands = channels not in _MODES or (channels in (2, 4) and not alpha)
    whole = units is None or units.dtype in ("uint8", "uint16")
    return (".png", *_TIFF_SUFFIXES) if whole and not bands else _TIFF_SUFFIXES


def default_suffix(channels: int, alpha: bool = True, units: Units | None = None) -> str:
    """`.png` where PNG can hold the channels and their meaning, else `.tif`."""
    return suffixes(channels, alpha, units)[0]


def refuse_suffix(path: Path, channels: int, alpha: bool = True, units: Units | None = None) -> None:
    """Raise `UsageError` for a name whose format cannot hold such an image."""
    accepted = suffixes(channels, alpha, units)
    if path.suffix.lower() in accepted:
        return
    what = f"of {channels} channels"
    if units is not None and units.dtype not in ("uint8", "uint16"):
        what = f"of {units.dtype} values"
    elif channels in (2, 4) and not alpha:
        what = f"of {channels} bands, none of them transparency,"
    raise UsageError(f'{path}: an image {what} is saved as {", ".join(accepted)}, not "{path.suffix}".')


def save(
    path: str | os.PathLike[str],
    array: NDArray[np.floating],
    depth: int = 8,
    metadata: Mapping[str, str] | None = None,
    *,
    alpha: bool = True,
    units: Units | None = None,
) -> Path:
    """Write one image.

    path: ending in .png (1 to 4 channels) or .tif/.tiff (any number). array: (H, W, C) in [0, 1]. depth: 8 or 16.
    metadata: text by name; PNG text chunks, or JSON in a TIFF's ImageDescription. alpha: the last of 2 or 4 channels is
    transparency. units: save values in these instead of `depth`, and say so in the text, if there is any.
    Returns the path. Raises `UsageError` where the format cannot hold the channels.
    """
    path = Path(path)
    values = np.atleast_3d(array)
    text = dict(metadata or {})
    channels = values.shape[2]
    refuse_suffix(path, channels, alpha, units)
    pixels = stored(values, depth, alpha, units)
    text |= range_text(units) if text else {}
    if path.suffix.lower() in _TIFF_SUFFIXES:
        _save_tiff(path, pixels, text, alpha, units)
    elif pixels.dtype == np.uint16:
        png16.write(path, pixels.astype(np.uint16), text)
    else:
        info = PngImagePlugin.PngInfo()
        for key, value in text.items():
            info.add_itxt(key, value)
        flat = pixels[..., 0] if channels == 1 else pixels
        Image.fromarray(np.ascontiguousarray(flat), _MODES[channels]).save(path, "PNG", pnginfo=info)
    return path


def stored(values: NDArray[np.floating], depth: int, alpha: bool, units: Units | None) -> Array:
    """(H, W, C) in [0, 1] as the file holds it; arguments as of `save`."""
    return quantise(values, depth) if units is None else in_units(values, units, alpha and values.shape[2] in (2, 4))


def range_text(units: Units | None) -> dict[str, str]:
    """What the text of a file in own units says of them."""
    return {} if units is None else {"range": f"{units}: what the model sees as black to white"}


def in_units(values: NDArray[np.floating], units: Units, alpha: bool) -> Array:
    """Colours in own units; transparency is a share of the type's largest number, whatever the range of colours."""
    refuse_not_finite(values)
    pixels = units.back(values)
    if alpha:
        kind = np.dtype(units.dtype)
        top = 1.0 if kind.kind == "f" else float(np.iinfo(kind).max)
        pixels[..., -1] = Units(0.0, top, units.dtype).back(values[..., -1])
    return pixels


def _save_tiff(path: Path, pixels: Array, text: Mapping[str, str], alpha: bool, units: Units | None) -> None:
    channels = pixels.shape[2]
    tifffile.imwrite(path, pixels if channels > 1 else pixels[..., 0], **tags(channels, text, alpha, units))


def tags(channels: int, text: Mapping[str, str], alpha: bool, units: Units | None) -> dict[str, Any]:
    """How tifffile writes such an image: grey or colours, then transparency or further bands, said to be neither."""
    extra = {2: 1, 4: 1}.get(channels, 0)
    return {
        "photometric": "rgb" if channels in (3, 4) else "minisblack",
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": ["unassalpha" if alpha else "unspecified"] * extra or None,
        "compression": "zlib",
        "description": json.dumps(dict(text), ensure_ascii=True),
        "metadata": None,
        "extratags": [] if units is None else _shown_range(units, channels),
    }


def _shown_range(units: Units, channels: int) -> list[tuple[int, int, int, tuple[float, ...], bool]]:
    """SMinSampleValue and SMaxSampleValue (TIFF 6.0, section 19): what a viewer is to show as black and white."""
    double = 12
    return [
        (340, double, channels, (units.low,) * channels, True),
        (341, double, channels, (units.high,) * channels, True),
    ]
