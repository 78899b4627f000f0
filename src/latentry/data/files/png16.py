"""PNG with 16 bits a channel, in and out, without losing one.

Pillow keeps only the high byte of 16-bit colour. Its decoder can be told which byte of each pair to take, so two passes
of it give all bits at its own speed. Writing needs only zlib.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from latentry.data.files.parts import array_of

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}


def channels_of(image: ImageFile.ImageFile) -> int:
    """Channels of a 16-bit colour or gray-with-alpha PNG as opened by Pillow; 0 for every other image."""
    raw = image.tile[0].args if image.format == "PNG" and getattr(image, "tile", None) else None
    return {"LA;16B": 2, "RGB;16B": 3, "RGBA;16B": 4}.get(raw if isinstance(raw, str) else "", 0)


def read(path: str) -> NDArray[np.uint16]:
    """All 16 bits of such a file, (H, W, C)."""
    with Image.open(path, formats=["PNG"]) as image:
        channels = channels_of(image)
    if channels == 2:  # two bytes of gray and two of alpha pass through the decoder as four channels of 8 bits
        four = _decode(path, "RGBA")
        return np.ascontiguousarray(four).view(">u2").astype(np.uint16)
    names = {3: "RGB", 4: "RGBA"}
    values = _decode(path, f"{names[channels]};16B").astype(np.uint16)
    values <<= np.uint16(8)
    values |= _decode(path, f"{names[channels]};16L")
    return values


def _decode(path: str, raw_mode: str) -> NDArray[np.uint8]:
    with Image.open(path, formats=["PNG"]) as image:
        image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
        image.load()
        return array_of(image)


def write(path: Path, pixels: NDArray[np.uint16], text: Mapping[str, str]) -> None:
    """Write (H, W, C) with C in 1..4 as a 16-bit PNG; `text` goes into international text chunks."""
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPE[channels], 0, 0, 0)
    rows = np.ascontiguousarray(pixels.astype(">u2")).view(np.uint8).reshape(height, -1)
    step = 2 * channels
    filtered = np.empty((height, 1 + rows.shape[1]), dtype=np.uint8)
    filtered[:, 0] = 1  # filter "Sub": each byte minus the one a pixel to the left
    filtered[:, 1 : 1 + step] = rows[:, :step]
    filtered[:, 1 + step :] = rows[:, step:] - rows[:, :-step]
    chunks = [(b"IHDR", head)]
    for key, value in text.items():
        chunks.append((b"iTXt", key.encode("latin-1", "replace") + b"\0\0\0\0\0" + value.encode("utf-8")))
    chunks += [(b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in chunks:
            file.write(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
