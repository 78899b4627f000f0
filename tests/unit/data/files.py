"""Image files as other programs write them, for the tests to read."""

from __future__ import annotations

import json
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentry.data.options import DataOptions


def options(**given: Any) -> DataOptions:
    """Data options from plain values, as a recipe would give them."""
    return DataOptions.model_validate(given)


def noise(height: int, width: int, channels: int, depth: int = 8, seed: int = 0) -> NDArray[Any]:
    """Random pixels that use every bit, the extremes included."""
    kind = np.uint8 if depth == 8 else np.uint16
    pixels = np.random.default_rng(seed).integers(0, 2**depth, (height, width, channels), dtype=kind)
    pixels.reshape(-1)[:2] = 0, 2**depth - 1
    return pixels


def flat(path: Path, colour: Any = (200, 30, 90), size: tuple[int, int] = (16, 16), mode: str = "RGB") -> Path:
    """One plain picture; size is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def numbered(root: Path, count: int, size: int = 8, prefix: str = "") -> list[Path]:
    """Pictures told apart by their red value, which is their number."""
    return [flat(root / f"{prefix}{n:04d}.png", (n % 256, n // 256, 7), (size, size)) for n in range(count)]


def metadata(root: Path, rows: list[dict[str, Any]]) -> None:
    """Write metadata.jsonl."""
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def chunk(name: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def plain_png(pixels: NDArray[Any], extra: bytes = b"", width: int = 0, bits: int = 0) -> bytes:
    """A PNG of (H, W, C) built by hand from the specification, every row unfiltered; extra: chunks before the data.

    width, bits: where several pixels are packed into each value, how many there are in a row and of how many bits.
    """
    height, columns, channels = pixels.shape
    depth = pixels.dtype.itemsize * 8
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = pixels.astype(">u2" if depth == 16 else "u1").tobytes()
    stride = len(rows) // height
    data = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height))
    head = struct.pack(">IIBBBBB", width or columns, height, bits or depth, kind, 0, 0, 0)
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@lru_cache
def empty_png(width: int, height: int) -> bytes:
    """A PNG of one gray value, small whatever its size."""
    squeezer = zlib.compressobj(9)
    row = b"\0" * (1 + width)
    data = b"".join(squeezer.compress(row) for _ in range(height)) + squeezer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
