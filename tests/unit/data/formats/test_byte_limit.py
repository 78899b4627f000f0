"""One bound on decoded bytes for every format, held before decoding and while. Peaks are measured in own processes."""

from __future__ import annotations

import io
import json
import lzma
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from latentry.data.files import images
from latentry.data.files.limits import Limits
from latentry.data.files.tiff.codecs import wrapped
from tests.unit.data.files import chunk, options, plain_png

_MEASURE = """
import json, resource, sys
if sys.argv[1] == "without":
    sys.modules["imagecodecs"] = None
else:
    import imagecodecs
from latentry.data.files import images
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
images.decode(sys.argv[2])
before, seen = peak(), []
for path in sys.argv[3:]:
    try:
        seen.append(images.decode(path)[1].nbytes)
    except images.BadImage as error:
        seen.append(error.reason)
print(json.dumps([peak() - before, seen]))
"""


def measured(extra: str, warm: Path, *paths: Path) -> tuple[int, list[Any]]:
    """(megabytes that the peak grew by, decoded bytes or the reason for each file)."""
    command = [sys.executable, "-c", _MEASURE, extra, str(warm), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    grown, seen = json.loads(done.stdout)
    assert not done.stderr
    return grown, seen


def _strip(compression: int, data: bytes, side: int = 64, samples: int = 1) -> bytes:
    """A TIFF whose only strip is `data`."""
    tags = {256: side, 257: side, 258: 8, 259: compression, 262: 1, 277: samples, 278: side}
    return wrapped(tags, [data])


@pytest.mark.parametrize("extra", ["with", "without"])
def test_strips_that_inflate_beyond_their_pixels_take_no_memory(tmp_path: Path, extra: str) -> None:
    """A deflate or LZMA strip of 150 kB took 2 GB in the default install, whatever its header said."""
    import imagecodecs

    Image.new("RGB", (9, 9)).save(tmp_path / "warm.tif", compression="tiff_lzw")
    zeros = bytes(2**27)
    bombs = {
        "deflate": _strip(8, zlib.compress(zeros, 1), 1200),
        "adobe": _strip(32946, zlib.compress(zeros, 1), 1200),
        "lzma": _strip(34925, lzma.compress(zeros, preset=0), 1200),
        "zstd": _strip(50000, imagecodecs.zstd_encode(zeros), 1200),
        "lzw": _strip(5, imagecodecs.lzw_encode(zeros), 1200),
        "packbits": _strip(32773, b"\x81\0" * 2**20, 1200),
    }
    for name, content in bombs.items():
        (tmp_path / f"{name}.tif").write_bytes(content)
    grown, seen = measured(extra, tmp_path / "warm.tif", *(tmp_path / f"{name}.tif" for name in bombs))
    assert seen == [1200 * 1200] * len(bombs)  # the bytes that belong to the picture, and no more
    assert grown < 50


@pytest.mark.parametrize("extra", ["with", "without"])
def test_what_a_header_promises_is_refused_before_it_is_decoded(tmp_path: Path, extra: str) -> None:
    """Bands, frames and bytes a value count as pixels do: 25 kB of 3000 bands were 5.7 GB."""
    Image.new("RGB", (9, 9)).save(tmp_path / "warm.png")
    nothing = zlib.compress(b"\0" * 100)
    tags: dict[int, int | tuple[int, ...]] = {256: 1000, 257: 1000, 258: 16, 259: 8, 262: 1, 278: 1000}
    (tmp_path / "bands.tif").write_bytes(wrapped(tags | {277: 3000}, [nothing]))
    (tmp_path / "double.tif").write_bytes(wrapped({**tags, 256: 9000, 257: 9000, 258: 64, 339: 3, 277: 1}, [nothing]))
    (tmp_path / "tile.tif").write_bytes(
        wrapped({256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: 65536, 323: 65536}, [nothing])
    )
    stack = [np.zeros((1, 1), np.uint8)] * 8
    tifffile.imwrite(tmp_path / "pages.tif", np.stack(stack), photometric="minisblack")
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (9000, 9000, 4)})
        file.truncate(9000 * 9000 * 32 + 128)  # a sparse file
    deep = plain_png(np.zeros((1, 1, 4), np.uint16)).replace(b"\0\0\0\1\0\0\0\1", (9000).to_bytes(4, "big") * 2, 1)
    (tmp_path / "deep.png").write_bytes(deep[:12] + _checked(deep[12:29]) + deep[33:])
    size = (9000 - 1).to_bytes(3, "little")
    (tmp_path / "a.webp").write_bytes(b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + size + size + b"\0" * 40)
    names = ["bands.tif", "double.tif", "a.npy", "deep.png", "a.webp", "tile.tif"]
    grown, seen = measured(extra, tmp_path / "warm.png", *(tmp_path / name for name in names))
    assert all("data.byte_limit" in reason for reason in seen[:-1]), seen
    assert "a single tile" in seen[-1]
    assert grown < 50


def _checked(head: bytes) -> bytes:
    return head + zlib.crc32(head).to_bytes(4, "big")


def _picture(side: int) -> Image.Image:
    row = np.arange(side, dtype=np.uint16) // 8 % 256
    return Image.fromarray(np.broadcast_to(row[:, None, None], (side, side, 3)).astype(np.uint8))


_WRITERS: dict[str, Callable[[Image.Image, Path], Any]] = {
    "png": lambda picture, path: picture.save(path, "PNG", compress_level=1),
    "jpeg": lambda picture, path: picture.save(path, "JPEG"),
    "jpeg-progressive": lambda picture, path: picture.save(path, "JPEG", progressive=True, subsampling=0),
    "jpeg-cmyk": lambda picture, path: picture.convert("CMYK").save(path, "JPEG"),
    "gif": lambda picture, path: picture.convert("P").save(path, "GIF"),
    "bmp": lambda picture, path: picture.save(path, "BMP"),
    "webp": lambda picture, path: picture.save(path, "WEBP", quality=1, method=0),
    "tiff-deflate": lambda picture, path: tifffile.imwrite(
        path, np.asarray(picture), compression="zlib", predictor=True
    ),
    "tiff-jpeg": lambda picture, path: picture.save(path, "TIFF", compression="jpeg"),
    "png-16": lambda picture, path: path.write_bytes(
        plain_png(np.asarray(picture)[: picture.height // 2].astype("u2"))
    ),
}


@pytest.mark.parametrize("kind", _WRITERS)
def test_the_largest_picture_takes_no_more_than_four_times_its_bytes(tmp_path: Path, kind: str) -> None:
    """Ten loader workers, each with a picture just within the limit, must fit a machine that was sized for it."""
    _picture(16).save(tmp_path / "warm.png")
    _WRITERS[kind](_picture(3000), tmp_path / "large.bin")
    grown, seen = measured("without", tmp_path / "warm.png", tmp_path / "large.bin")
    assert seen == [3000 * 3000 * 3]
    assert grown < 4 * 3000 * 3000 * 4 / 2**20 if kind == "webp" else grown < 4 * 3000 * 3000 * 3 / 2**20


def test_texts_and_profiles_of_a_png_that_inflate_are_refused(tmp_path: Path) -> None:
    """A compressed comment can be a bomb too."""
    Image.new("RGB", (9, 9)).save(tmp_path / "warm.png")
    bomb = zlib.compress(bytes(2**27), 1)
    extra = {
        "iCCP": b"name\0\0" + bomb,
        "zTXt": b"Comment\0\0" + bomb,
        "iTXt": b"Comment\0\1\0\0\0" + bomb,
    }
    for name, body in extra.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(plain_png(np.zeros((9, 9, 3), np.uint8), chunk(name.encode(), body)))
    grown, seen = measured("without", tmp_path / "warm.png", *(tmp_path / f"{name}.png" for name in extra))
    assert all(isinstance(end, int) or "far larger" in end for end in seen), seen
    assert grown < 50


def test_a_jpeg_of_a_thousand_scans_is_refused(tmp_path: Path) -> None:
    """Each scan passes over all pixels: a small file could keep a worker busy for minutes."""
    out = io.BytesIO()
    _picture(64).save(out, "JPEG", progressive=True)
    content = out.getvalue()
    first = content.index(b"\xff\xda")
    second = content.index(b"\xff\xda", first + 2)
    (tmp_path / "a.jpg").write_bytes(content[:second] + content[first:second] * 1000 + content[second:])
    with pytest.raises(images.BadImage, match="scans"):
        images.decode(tmp_path / "a.jpg")


def test_the_limit_is_an_option_and_named_where_it_is_met(tmp_path: Path) -> None:
    """Who has larger images must find what to change."""
    _picture(64).save(tmp_path / "a.png")
    assert options().limits == Limits()
    assert options(byte_limit=64 * 64 * 3).limits.bytes == 12288
    assert images.decode(tmp_path / "a.png", options(byte_limit=12288).limits)[1].nbytes == 12288
    with pytest.raises(images.BadImage, match=r"12288 bytes decoded, more than data\.byte_limit = 12287"):
        images.header(tmp_path / "a.png", options(byte_limit=12287).limits)
