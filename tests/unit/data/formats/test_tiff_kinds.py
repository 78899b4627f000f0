"""TIFF as scanners, microscopes, GDAL and libtiff write it: each kind read as another reader reads it, or named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from latentry.data.files import images
from latentry.data.files.tiff.codecs import wrapped
from tests.unit.data.files import noise
from tests.unit.data.formats.test_damage import look_at


@pytest.fixture(params=["with imagecodecs", "without imagecodecs"])
def install(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The package with and without its extra `sci`."""
    if request.param.startswith("without"):
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
    return request.param


def scene(height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    """A picture whose corners differ, smooth enough for JPEG."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 200 // height, x * 200 // width, (x + y) % 50 + 100], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["1", "P", "CMYK", "RGB", "L", "I;16", "jpeg", "lzw", "group4"])
def test_every_kind_is_turned_upright_once(tmp_path: Path, kind: str, orientation: int) -> None:
    """Pillow turns a TIFF on loading: a second turn lays scans on their side. Expected: the undoing of EXIF's table."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    mode = {"jpeg": "RGB", "lzw": "RGB", "group4": "1", "I;16": "L"}.get(kind, kind)
    stored = Image.fromarray(scene()).convert(mode)
    if kind == "I;16":
        stored = Image.fromarray(np.asarray(stored).astype(np.uint16) * 250)
    how = {"jpeg": "jpeg", "lzw": "tiff_lzw", "group4": "group4"}.get(kind)
    stored.save(tmp_path / "a.tif", compression=how, tiffinfo={274: orientation})
    turned = stored.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else stored
    expected = np.asarray(turned if kind in ("L", "I;16") else turned.convert("L" if mode == "1" else "RGB"))
    header, got = images.decode(tmp_path / "a.tif")
    assert (header.height, header.width) == expected.shape[:2]
    np.testing.assert_allclose(got.squeeze(), expected, atol=25 if kind == "jpeg" else 0)


@pytest.mark.parametrize("compression", ["none", "lzw", "zlib", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("layout", ["chunky", "planar", "tiled", "strips of 7"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_honest_noise_is_read_whatever_its_compression(
    tmp_path: Path, install: str, compression: str, layout: str, dtype: str
) -> None:
    """Noise grows when it is compressed; refused as a bomb, or cut, microscope images would be lost."""
    pixels = noise(45, 37, 3, 8 if dtype == "u1" else 16).astype(dtype)
    how: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate" if layout == "planar" else "contig"}
    how |= {"tile": (16, 32)} if layout == "tiled" else {"rowsperstrip": 7} if layout == "strips of 7" else {}
    how |= {} if compression == "none" else {"compression": compression}
    if compression in ("lzw", "zlib", "zstd") and layout != "planar":
        how["predictor"] = True  # of whole numbers, or of floats
    stored = np.moveaxis(pixels, -1, 0) if layout == "planar" else pixels
    _with_codecs(lambda: tifffile.imwrite(tmp_path / "a.tif", stored, **how))
    header, got = images.decode(tmp_path / "a.tif")
    assert got.dtype == np.dtype(header.dtype) == np.dtype(dtype)
    np.testing.assert_array_equal(got, pixels)


def _with_codecs(write: Any) -> None:
    """Write a file that needs imagecodecs, whatever the install that is tried."""
    hidden = sys.modules.pop("imagecodecs", None)
    if hidden is None:
        sys.modules["imagecodecs"] = imagecodecs
    try:
        write()
    finally:
        sys.modules["imagecodecs"] = hidden  # type: ignore[assignment]


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_values_are_the_files_own(tmp_path: Path, dtype: str, byteorder: str) -> None:
    """-1 read as 255, or a scan in another scale, is another tissue."""
    pixels = np.linspace(-120, 120, 12 * 9).reshape(12, 9).astype(dtype if dtype[0] != "u" else "i4")
    pixels = np.abs(pixels).astype("u4") * 30_000_000 if dtype == "u4" else pixels
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, byteorder=byteorder, photometric="minisblack", bigtiff=byteorder == ">"
    )
    header, got = images.decode(tmp_path / "a.tif")
    expected = pixels.astype(np.float32) if dtype[0] == "f" else pixels
    assert header.dtype == expected.dtype.name == got.dtype.name
    np.testing.assert_array_equal(got[..., 0], expected)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 10, 12, 14, 20, 24])
@pytest.mark.parametrize("bands", [1, 3])
def test_any_number_of_bits_is_unpacked(tmp_path: Path, install: str, bits: int, bands: int) -> None:
    """Cameras store 10, 12 and 14 bits a value; few bits are stretched to white, others are the file's own numbers."""
    numbers = np.random.default_rng(bits).integers(0, 2**bits, (11, 13, bands), dtype=np.uint32)
    strings = ["".join(f"{n:0{bits}b}" for n in row.reshape(-1)) for row in numbers]
    rows = [int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big") for text in strings]
    tags: dict[int, int | tuple[int, ...]] = {
        256: 13,
        257: 11,
        258: (bits,) * bands,
        259: 1,
        262: 1 if bands == 1 else 2,
    }
    (tmp_path / "a.tif").write_bytes(wrapped(tags | {277: bands, 278: 11}, [b"".join(rows)]))
    header, got = images.decode(tmp_path / "a.tif")
    np.testing.assert_array_equal(got, numbers * {1: 255, 2: 85, 4: 17}.get(bits, 1))
    assert header.bits == (None if bits in (1, 2, 4) else bits)


def test_white_as_zero_is_turned_over_in_every_type(tmp_path: Path) -> None:
    """A scan of white paper would be black; of 12 bits the largest value is 4095."""
    for dtype, top in (("u1", 255), ("u2", 65535), ("f4", 1)):
        values = (np.arange(12).reshape(3, 4) / 11 * top).astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
        np.testing.assert_array_equal(images.decode(tmp_path / "a.tif")[1][..., 0], top - values)
    data = imagecodecs.packints_encode(np.arange(4, dtype=np.uint16) * 1000, 12)
    (tmp_path / "b.tif").write_bytes(wrapped({256: 4, 257: 1, 258: 12, 259: 1, 262: 0, 277: 1, 278: 1}, [bytes(data)]))
    assert images.decode(tmp_path / "b.tif")[1].ravel().tolist() == [4095, 3095, 2095, 1095]


def test_a_cloud_optimised_file_is_its_first_page(tmp_path: Path, install: str) -> None:
    """Its overviews are no film, and its JPEG tiles need nothing but Pillow."""
    full = np.kron(scene(64, 64), np.ones((4, 4, 1), np.uint8))

    def write() -> None:
        for name, sub in (("behind", None), ("inside", 2)):
            with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
                how: dict[str, Any] = {"tile": (128, 128), "compression": "jpeg", "photometric": "rgb"}
                file.write(full, subifds=sub, **how)
                file.write(full[::2, ::2].copy(), subfiletype=1, **how)
                file.write(full[::4, ::4].copy(), subfiletype=1, **how)

    _with_codecs(write)
    for name in ("behind", "inside"):
        header, got = images.decode(tmp_path / f"{name}.tif")
        assert header.frames == 1
        assert not header.notes
        assert np.abs(got.astype(int) - full).mean() < 4
        assert (header.width, header.height) == (256, 256)


def test_a_thumbnail_before_the_picture_is_not_the_picture(tmp_path: Path) -> None:
    """Some scanners write the small copy first."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(scene()[::4, ::4].copy(), subfiletype=1, photometric="rgb")
        file.write(scene(), photometric="rgb")
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), scene())


def test_palettes_keep_the_bits_of_their_colours(tmp_path: Path) -> None:
    """A palette of 16 bits is cut to 8 only where nothing is lost."""
    index = np.arange(12, dtype=np.uint8).reshape(3, 4)
    ramp = np.zeros((3, 256), np.uint16)
    for scale, dtype in ((257, np.uint8), (256, np.uint8), (250, np.uint16)):
        ramp[:] = np.arange(256) * scale
        tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=ramp)
        header, got = images.decode(tmp_path / "a.tif")
        assert header.palette
        assert got.dtype == dtype
        np.testing.assert_array_equal(
            got, np.repeat(index[..., None].astype(int) * (scale if dtype == np.uint16 else 1), 3, 2)
        )


def test_colours_that_are_not_read_are_named(tmp_path: Path) -> None:
    """Dropping a fifth ink, or showing a camera's raw mosaic as grey, would pass unseen."""
    tifffile.imwrite(tmp_path / "five.tif", noise(8, 8, 5), photometric="separated", extrasamples=[0])
    tifffile.imwrite(tmp_path / "deep.tif", noise(8, 8, 4, 16), photometric="separated")
    tifffile.imwrite(tmp_path / "raw.tif", noise(8, 8, 1)[..., 0], photometric="cfa")
    tifffile.imwrite(tmp_path / "complex.tif", np.ones((8, 8), np.complex64), photometric="minisblack")
    tifffile.imwrite(tmp_path / "long.tif", np.ones((8, 8), np.int64), photometric="minisblack")
    words = {
        "five": "CMYK with 5 bands",
        "deep": "CMYK with 4 bands of 16",
        "raw": "CFA",
        "complex": "complex",
        "long": "64",
    }
    for name, word in words.items():
        with pytest.raises(images.BadImage, match=word):
            images.decode(tmp_path / f"{name}.tif")


def test_ycbcr_and_lab_become_rgb(tmp_path: Path) -> None:
    """Read as plain bands they would be pictures in wrong colours."""
    rgb = Image.fromarray(scene())
    tifffile.imwrite(tmp_path / "y.tif", np.asarray(rgb.convert("YCbCr")), photometric="ycbcr")
    np.testing.assert_allclose(images.read(tmp_path / "y.tif"), scene(), atol=3)
    lab = np.array([[[255, 0, 0], [0, 0, 0], [137, 208, 195]]], dtype=np.uint8)  # white, black, blue of sRGB (D50)
    tifffile.imwrite(tmp_path / "l.tif", np.repeat(lab, 4, axis=0), photometric="cielab")
    got = images.read(tmp_path / "l.tif")[0].astype(int)
    assert np.abs(got[:2] - [[255] * 3, [0] * 3]).max() <= 1
    assert got[2].argmax() == 2


@pytest.mark.parametrize("compression", ["jpeg2000", "webp", "jpeg"])
def test_tiles_that_are_pictures_are_read_or_name_the_extra(tmp_path: Path, install: str, compression: str) -> None:
    """Slides and satellite tiles; the default install says which package is wanting."""
    how: dict[str, Any] = {"tile": (16, 16), "compression": compression, "photometric": "rgb"}
    how |= {"compressionargs": {"lossless": True}} if compression == "webp" else {}
    _with_codecs(lambda: tifffile.imwrite(tmp_path / "a.tif", scene(), **how))
    if compression == "jpeg2000" and install.startswith("without"):
        with pytest.raises(images.BadImage, match=r"pip install 'latentry\[sci\]'"):
            images.read(tmp_path / "a.tif")
    else:
        np.testing.assert_allclose(images.read(tmp_path / "a.tif"), scene(), atol=45 if compression == "jpeg" else 0)


def test_what_gdal_says_was_not_measured_is_in_the_header(tmp_path: Path) -> None:
    """Elsewhere -3.4e38 would be taken for the darkest value."""
    for text, value in (("-3.4028235e+38", -3.4028235e38), ("nan", np.nan), ("-9999", -9999), ("oops", None)):
        tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 4), np.float32), extratags=[(42113, 2, 0, text, True)])
        np.testing.assert_equal(images.header(tmp_path / "a.tif").no_data, value)
    tifffile.imwrite(tmp_path / "b.tif", np.ones((4, 4), np.float32))
    assert images.header(tmp_path / "b.tif").no_data is None


def test_nothing_of_a_library_reaches_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """libtiff writes its warnings past Python; hundreds of lines would bury the one that matters."""
    Image.fromarray(scene()).save(tmp_path / "a.tif", compression="jpeg")
    good = (tmp_path / "a.tif").read_bytes()
    for at in range(200, len(good), 97):
        (tmp_path / "a.tif").write_bytes(good[:at] + b"\xff\x00\xd9" + good[at + 3 :])
        look_at(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")
