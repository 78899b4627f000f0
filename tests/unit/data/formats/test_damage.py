"""Damaged and hostile files: an array or one reason, never a traceback, a hang or the machine's memory."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from latentry.data.files import images
from latentry.data.files.limits import Limits
from tests.unit.data.files import noise, plain_png

LIMITS = Limits(10**6, 2**23)
"""Small, so that a file that promises much is refused instead of tried."""
_PYTHONS = ("unsupported operand", "NoneType", "list index", "cannot reshape", "object", "buffer", "argument", "struct")


def _pillow(kind: str, mode: str = "RGB", **how: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(noise(24, 20, 3)).convert(mode).save(out, kind, **how)
    return out.getvalue()


def _animated(kind: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(noise(24, 20, 3, seed=n)) for n in range(3)]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


def _tiff(array: Any, **how: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array, **how)
    return out.getvalue()


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _exif(kind: str) -> bytes:
    exif = Image.Exif()
    exif[274], exif[270] = 6, "words"
    return _pillow(kind, exif=exif)


DEEP, RGB = noise(24, 20, 3, 16), noise(24, 20, 3)
FILES: dict[str, Callable[[], bytes]] = {
    "png": lambda: plain_png(noise(24, 20, 3)),
    "png16": lambda: plain_png(noise(24, 20, 4, 16)),
    "png-palette": lambda: _pillow("PNG", "P"),
    "png-exif": lambda: _exif("PNG"),
    "apng": lambda: _animated("PNG"),
    "jpeg": lambda: _exif("JPEG"),
    "jpeg-progressive": lambda: _pillow("JPEG", progressive=True),
    "jpeg-cmyk": lambda: _pillow("JPEG", "CMYK"),
    "webp": lambda: _exif("WEBP"),
    "webp-lossless": lambda: _pillow("WEBP", lossless=True),
    "webp-animated": lambda: _animated("WEBP"),
    "gif": lambda: _animated("GIF"),
    "bmp": lambda: _pillow("BMP"),
    "tiff": lambda: _tiff(RGB, photometric="rgb"),
    "tiff-deflate": lambda: _tiff(DEEP, photometric="rgb", compression="zlib", predictor=True, tile=(16, 16)),
    "tiff-lzw": lambda: _tiff(DEEP, photometric="rgb", compression="lzw", rowsperstrip=5),
    "tiff-lzma": lambda: _tiff(RGB, photometric="rgb", compression="lzma"),
    "tiff-zstd": lambda: _tiff(RGB, photometric="rgb", compression="zstd"),
    "tiff-packbits": lambda: _tiff(RGB, photometric="rgb", compression="packbits"),
    "tiff-float": lambda: _tiff(RGB.astype("f4"), photometric="rgb", compression="zlib", predictor=3),
    "tiff-jpeg": lambda: _tiff(RGB, photometric="rgb", compression="jpeg", tile=(16, 16)),
    "tiff-j2k": lambda: _tiff(DEEP, photometric="rgb", compression="jpeg2000", tile=(16, 16)),
    "tiff-webp": lambda: _tiff(RGB, photometric="rgb", compression="webp", tile=(16, 16)),
    "tiff-fax": lambda: _pillow("TIFF", "1", compression="group4"),
    "tiff-palette": lambda: _pillow("TIFF", "P"),
    "tiff-cmyk": lambda: _pillow("TIFF", "CMYK"),
    "tiff-big": lambda: _tiff(DEEP, photometric="rgb", bigtiff=True, byteorder=">"),
    "tiff-stack": lambda: _tiff(DEEP.transpose(2, 0, 1), ome=True, metadata={"axes": "ZYX"}),
    "tiff-imagej": lambda: _tiff(DEEP.transpose(2, 0, 1), imagej=True, metadata={"axes": "CYX"}),
    "npy": lambda: _npy(DEEP),
}


def harmed(content: bytes, rng: np.random.Generator) -> bytes:
    """The file cut short, with bytes changed, moved, or numbers set to their extremes."""
    data = bytearray(content)
    how = rng.integers(5)
    if how == 0:
        del data[int(rng.integers(len(data))) :]
    elif how == 1:
        for at in rng.integers(0, len(data), int(rng.integers(1, 8))):
            data[at] = int(rng.integers(256))
    elif how == 2:
        at = int(rng.integers(min(len(data), 400)))
        data[at] ^= 1 << int(rng.integers(8))
    elif how == 3:
        at = int(rng.integers(min(len(data), 600)))
        data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\1", b"\0\1"])
    else:
        at, count = int(rng.integers(len(data))), int(rng.integers(1, 60))
        data[at : at + count] = data[: int(rng.integers(count + 1))]
    return bytes(data)


def end_of(look: Callable[..., Any], path: Path, limits: Limits = LIMITS) -> Any:
    """What a reading returns, or the reason for which it does not."""
    try:
        return look(path, limits)
    except images.BadImage as error:
        return error.reason


def look_at(path: Path, limits: Limits = LIMITS) -> None:
    """Header and pixels, whatever they are; fails for any other end than an array of the header's facts or a reason."""
    before = time.monotonic()
    ends = [end_of(look, path, limits) for look in (images.header, images.decode)]
    assert time.monotonic() - before < 60
    for end in ends:
        if isinstance(end, str):
            assert end
            assert "\n" not in end
            assert not any(text in end for text in _PYTHONS), end
        elif isinstance(end, tuple):
            header, array = end
            assert array.shape == (header.height, header.width, header.channels)
            assert array.dtype == header.dtype
            assert array.nbytes <= limits.bytes


def _many(tmp_path: Path, name: str, count: int) -> None:
    content, rng = FILES[name](), np.random.default_rng([len(name), count])
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    images.decode(path, LIMITS)
    for _ in range(count):
        path.write_bytes(harmed(content, rng))
        look_at(path)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_an_array_or_one_reason(tmp_path: Path, name: str) -> None:
    """Whatever else a decoder does ends a night's run with a traceback."""
    _many(tmp_path, name, 40)


@pytest.mark.soak
@pytest.mark.parametrize("extra", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_thousands_of_damaged_files_are_arrays_or_reasons(
    tmp_path: Path, name: str, extra: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for long, with and without imagecodecs."""
    if not extra:
        if name == "tiff-j2k":
            pytest.skip("needs the extra")
        content = FILES[name]()
        monkeypatch.setitem(FILES, name, lambda: content)
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
    _many(tmp_path, name, 1000)
