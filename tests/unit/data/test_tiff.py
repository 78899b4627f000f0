"""TIFFs as microscopes, satellites and scripts write them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from latentry.data.files import images
from latentry.data.files.header import BadValues
from tests.unit.data.files import noise


@pytest.mark.parametrize(
    "how",
    [
        {"planarconfig": "contig", "photometric": "minisblack"},
        {"planarconfig": "contig", "photometric": "minisblack", "compression": "zlib", "tile": (16, 16)},
        {"planarconfig": "contig", "photometric": "minisblack", "bigtiff": True, "byteorder": ">"},
        {},  # no layout named: tifffile writes H pages of W x bands
    ],
)
@pytest.mark.parametrize("depth", [8, 16])
def test_five_bands_last_are_read_whole(tmp_path: Path, how: dict[str, Any], depth: int) -> None:
    """Cut bands are the field's oldest silent fault."""
    pixels = noise(24, 20, 5, depth)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **how)
    header, got = images.decode(tmp_path / "a.tif")
    assert (header.height, header.width, header.channels, header.depth) == (24, 20, 5, depth)
    np.testing.assert_array_equal(got, pixels)


@pytest.mark.parametrize(
    "how", [{"planarconfig": "separate", "photometric": "minisblack"}, {}, {"metadata": {"axes": "CYX"}}]
)
def test_five_bands_first_are_read_whole(tmp_path: Path, how: dict[str, Any]) -> None:
    """The other planar layout, and bands as pages."""
    pixels = noise(24, 20, 5, 16)
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(pixels, -1, 0), **how)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), pixels)


def test_pages_that_are_moments_in_time_are_said_not_taken_for_bands(tmp_path: Path) -> None:
    """A film of 7 frames is not a picture of 7 channels."""
    tifffile.imwrite(tmp_path / "a.tif", noise(24, 20, 7, 16).transpose(2, 0, 1), metadata={"axes": "TYX"})
    header = images.header(tmp_path / "a.tif")
    assert (header.channels, header.frames) == (1, 7)
    assert "only the first is used" in header.notes[0]


def test_a_fourth_tiff_band_is_a_band_whatever_it_is_called(tmp_path: Path) -> None:
    """tifffile calls any fourth sample transparency; near infrared composited over white would be ruined."""
    tifffile.imwrite(tmp_path / "a.tif", noise(8, 8, 4), photometric="rgb")
    header = images.header(tmp_path / "a.tif")
    assert (header.channels, header.alpha) == (4, False)


def test_float_is_kept_and_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    """One NaN in the data is NaN in every weight."""
    good = np.linspace(0, 1, 60, dtype=np.float32).reshape(6, 10)
    tifffile.imwrite(tmp_path / "good.tif", good)
    header, got = images.decode(tmp_path / "good.tif")
    assert header.depth == 32
    np.testing.assert_array_equal(got[..., 0], good)
    tifffile.imwrite(tmp_path / "nan.tif", np.where(good > 0.9, np.nan, good))
    with pytest.raises(BadValues, match="6 values are not finite"):
        images.read(tmp_path / "nan.tif")
    tifffile.imwrite(tmp_path / "wide.tif", good * 300)
    with pytest.raises(BadValues, match="run from 0 to 300"):
        images.read(tmp_path / "wide.tif")


def test_kinds_that_would_lose_bits_are_refused(tmp_path: Path) -> None:
    """Signed, 32-bit and 16-bit CMYK values do not fit 16 bits: an error, never a cut."""
    tifffile.imwrite(tmp_path / "i32.tif", np.full((6, 6), 70000, dtype=np.int32))
    tifffile.imwrite(tmp_path / "u32.tif", np.full((6, 6), 70000, dtype=np.uint32))
    tifffile.imwrite(tmp_path / "i16.tif", np.full((6, 6), -7, dtype=np.int16))
    tifffile.imwrite(tmp_path / "cmyk.tif", noise(6, 6, 4, 16), photometric="separated")
    for name in ("i32", "u32", "i16", "cmyk"):
        with pytest.raises(images.BadImage):
            images.read(tmp_path / f"{name}.tif")


def test_inverted_palette_and_jpeg_tiffs_look_as_they_should(tmp_path: Path) -> None:
    """Kinds tifffile does not interpret go through Pillow; scanners write white as zero."""
    pixels = noise(16, 16, 1)
    tifffile.imwrite(tmp_path / "w.tif", pixels[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(images.read(tmp_path / "w.tif"), 255 - pixels)
    Image.new("P", (4, 4), 0).save(tmp_path / "p.tif")
    assert images.read(tmp_path / "p.tif").shape == (4, 4, 3)
    Image.new("RGB", (32, 32), (200, 30, 90)).save(tmp_path / "j.tif", compression="jpeg")
    np.testing.assert_allclose(images.read(tmp_path / "j.tif")[5, 5], (200, 30, 90), atol=6)
    Image.new("1", (9, 4), 1).save(tmp_path / "b.tif", compression="group4")
    assert (images.read(tmp_path / "b.tif") == 255).all()


def test_without_more_codecs_plain_lzw_still_reads_and_the_rest_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """imagecodecs is an extra: its absence must cost nothing for common files and say so for others."""
    pixels, deep = noise(16, 16, 3), noise(16, 16, 3, 16)
    Image.fromarray(pixels).save(tmp_path / "a.tif", compression="tiff_lzw")
    tifffile.imwrite(tmp_path / "b.tif", deep, photometric="rgb", compression="lzw")
    tifffile.imwrite(tmp_path / "c.tif", deep, photometric="rgb", compression="jpeg2000")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), pixels)
    np.testing.assert_array_equal(images.read(tmp_path / "b.tif"), deep)
    with pytest.raises(images.BadImage, match=r"latentry\[sci\]"):
        images.read(tmp_path / "c.tif")
