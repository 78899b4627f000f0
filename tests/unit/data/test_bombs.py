"""Files that promise far more pixels than they have bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from latentry.data.files import images
from tests.unit.data.files import empty_png

_MEASURE = """
import resource, sys
from latentry.data.files import images
images.header(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    for look in (images.header, images.read):
        try:
            look(path)
        except images.BadImage as error:
            print(error.reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_are_refused_from_the_header_within_50_mb(tmp_path: Path) -> None:
    """One such file would otherwise take the machine down with the run. Peak memory is measured in its own process."""
    Image.new("RGB", (4, 4)).save(tmp_path / "good.tif")
    (tmp_path / "bomb.png").write_bytes(empty_png(12000, 12000))
    assert (tmp_path / "bomb.png").stat().st_size < 200_000
    _tiff_bomb(tmp_path / "bomb.tif")
    size = (16383 - 1).to_bytes(3, "little")
    (tmp_path / "bomb.webp").write_bytes(b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + size + size + b"\0" * 40)
    (tmp_path / "bomb.gif").write_bytes(b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;")
    paths = [str(tmp_path / f"bomb.{kind}") for kind in ("png", "tif", "webp", "gif")]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path / "good.tif"), *paths], capture_output=True, text=True, check=True
    )
    *reasons, megabytes = done.stdout.splitlines()
    assert len(reasons) == 8, done.stdout
    assert all("data.pixel_limit" in reason for reason in reasons), reasons
    assert int(megabytes) < 50


def _tiff_bomb(path: Path) -> None:
    """A small TIFF whose header is changed to promise 60000 x 60000 pixels."""
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        tags["ImageWidth"].overwrite(60000)
        tags["ImageLength"].overwrite(60000)


def test_a_strip_that_inflates_beyond_its_pixels_is_refused(tmp_path: Path) -> None:
    """The header of a TIFF may be honest and its strip a bomb."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (400, 400), dtype=np.uint8), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        tags["ImageWidth"].overwrite(8)
        tags["ImageLength"].overwrite(8)
    with pytest.raises(images.BadImage, match="compressed bytes for 64 bytes"):
        images.read(path)
