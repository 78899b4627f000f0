"""Reading and writing single files."""

from __future__ import annotations

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from latentry.data.files import images
from latentry.errors import UsageError
from tests.unit.data.files import chunk, flat, noise, plain_png


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_a_png_is_read_bit_for_bit(tmp_path: Path, channels: int, depth: int) -> None:
    """Otherwise 16-bit pictures would lose their low byte before training begins."""
    pixels = noise(13, 7, channels, depth)
    path = tmp_path / "a.png"
    path.write_bytes(plain_png(pixels))
    header = images.header(path)
    assert (header.width, header.height, header.channels, header.depth) == (7, 13, channels, depth)
    assert header.alpha == (channels in (2, 4))
    got = images.read(path)
    assert got.dtype == pixels.dtype
    np.testing.assert_array_equal(got, pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_16_bit_png_with_every_row_filter_is_read_bit_for_bit(tmp_path: Path, channels: int) -> None:
    """Encoders choose among five row filters; the test above uses only one of them."""
    pixels = (noise(40, 30, channels, 16) // 64 + np.arange(40, dtype=np.uint16)[:, None, None] * 900).astype(np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(pixels if channels > 1 else pixels[..., 0], filter=0xF8, level=6))
    np.testing.assert_array_equal(images.read(path), pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_saved_16_bit_png_is_what_another_decoder_reads(tmp_path: Path, channels: int) -> None:
    """Otherwise our 16-bit samples would be readable by ourselves alone, or shifted by a rounding."""
    pixels = noise(9, 11, channels, 16)
    path = images.save(tmp_path / "a.png", pixels / 65535, 16, {"prompt": "a réd apple"})
    got = imagecodecs.png_decode(path.read_bytes()).reshape(pixels.shape)
    np.testing.assert_array_equal(got, pixels)
    with Image.open(path) as image:
        assert image.info["prompt"] == "a réd apple"


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_saved_8_bit_png_rounds_to_nearest_and_carries_its_text(tmp_path: Path, channels: int) -> None:
    """Truncation darkens every sample by half a step; a sample without its prompt cannot be made again."""
    pixels = noise(9, 11, channels)
    path = images.save(tmp_path / "a.png", (pixels + 0.49) / 255, 8, {"seed": "7"})
    with Image.open(path) as image:
        assert image.info["seed"] == "7"
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize("depth", [8, 16])
def test_tiff_round_trip_loses_no_bit_and_is_readable_elsewhere(tmp_path: Path, channels: int, depth: int) -> None:
    """Many-band samples must keep bands, depth and prompt."""
    pixels = noise(9, 6, channels, depth)
    path = images.save(tmp_path / "a.tif", pixels / (2**depth - 1), depth, {"prompt": "löss"})
    np.testing.assert_array_equal(tifffile.imread(path).reshape(pixels.shape), pixels)
    np.testing.assert_array_equal(images.read(path), pixels)
    with tifffile.TiffFile(path) as file:
        assert json.loads(file.pages[0].description) == {"prompt": "löss"}


def test_saving_what_a_format_cannot_hold_is_one_clear_error(tmp_path: Path) -> None:
    """Otherwise five bands would be cut to three, or end in a traceback."""
    with pytest.raises(UsageError, match=r"5 channels is saved as \.tif, \.tiff"):
        images.save(tmp_path / "a.png", np.zeros((4, 4, 5)))
    with pytest.raises(UsageError, match="not finite"):
        images.save(tmp_path / "a.png", np.full((4, 4, 3), np.nan))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Phone photos would otherwise be learnt lying on their side. Expected: ImageOps.exif_transpose of Pillow."""
    from PIL import ImageOps

    source = Image.fromarray(np.kron(noise(3, 5, 3), np.ones((16, 16, 1), dtype=np.uint8)))
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a{suffix}"
    source.save(path, None, exif=exif, lossless=True)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    header = images.header(path)
    assert (header.height, header.width) == expected.shape[:2]
    np.testing.assert_array_equal(images.read(path), expected)


def test_a_palette_with_transparency_becomes_rgba(tmp_path: Path) -> None:
    """Its clear pixels would otherwise show the palette's hidden colour."""
    image = Image.new("P", (4, 2), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=0)
    header, pixels = images.decode(tmp_path / "a.png")
    assert header.alpha
    assert header.palette
    assert pixels[0, 0].tolist() == [10, 20, 30, 0]
    assert pixels[1, 1].tolist() == [200, 100, 50, 255]


@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (3, 8), (1, 16), (3, 16)])
def test_a_single_transparent_colour_becomes_alpha(tmp_path: Path, channels: int, depth: int) -> None:
    """A PNG may name one clear colour instead of an alpha channel; ignored, it would be learnt as paint."""
    pixels = noise(5, 4, channels, depth)
    key = b"".join(int(v).to_bytes(2, "big") for v in pixels[2, 3])
    path = tmp_path / "a.png"
    path.write_bytes(plain_png(pixels, chunk(b"tRNS", key)))
    header, got = images.decode(path)
    assert (header.channels, header.alpha) == (channels + 1, True)
    np.testing.assert_array_equal(got[..., :channels], pixels)
    expected = np.where((pixels == pixels[2, 3]).all(axis=2), 0, 2**depth - 1)
    np.testing.assert_array_equal(got[..., channels], expected)


def test_cmyk_animation_and_bilevel_are_read_and_said(tmp_path: Path) -> None:
    """Odd kinds must neither end a run nor pass unsaid."""
    flat(tmp_path / "c.jpg", (0, 255, 255, 0), mode="CMYK")
    header, pixels = images.decode(tmp_path / "c.jpg")
    assert "CMYK" in header.notes[0]
    np.testing.assert_allclose(pixels[8, 8], (255, 0, 0), atol=3)
    frames = [Image.new("RGB", (6, 6), c) for c in ((255, 0, 0), (0, 255, 0))]
    for name in ("a.gif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, None, save_all=True, append_images=frames[1:], lossless=True)
        header, pixels = images.decode(tmp_path / name)
        assert any("only the first is used" in note for note in header.notes), name
        assert pixels[3, 3].tolist() == [255, 0, 0], name
    flat(tmp_path / "b.png", 1, mode="1")
    assert images.read(tmp_path / "b.png").shape == (16, 16, 1)
    assert images.read(tmp_path / "b.png").max() == 255


def test_the_content_tells_the_kind_not_the_name(tmp_path: Path) -> None:
    """Collections from the web are full of PNGs named .jpg."""
    flat(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert images.header(tmp_path / "a.jpg").format == "PNG"
    assert images.read(tmp_path / "a.jpg")[0, 0].tolist() == [200, 30, 90]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pictures_one_pixel_wide_keep_their_three_axes(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    """Decoders like to drop axes of length one, which would turn width into channels."""
    flat(tmp_path / f"a{suffix}", size=size)
    assert images.read(tmp_path / f"a{suffix}").shape == (size[1], size[0], 3)


def test_damaged_files_give_one_reason_each(tmp_path: Path) -> None:
    """Whatever a decoder throws must arrive as a reason beside the path, never as a traceback."""
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "t.jpg")
    whole = (tmp_path / "t.jpg").read_bytes()
    png = plain_png(noise(64, 64, 3))
    cases = {
        "truncated.jpg": (whole[: len(whole) // 2], "damaged"),
        "empty.png": (b"", "empty file"),
        "text.png": (b"hello, I am a text\n", "not an image"),
        "cut.png": (png[: len(png) // 2], "damaged"),
        "flipped.png": (png[:60] + b"\xff\xff\xff" + png[63:], "damaged"),
        "cut16.png": (plain_png(noise(64, 64, 3, 16))[:9000], "damaged"),
        "cut.tif": (b"II*\0\x08\0\0\0\x05\0", "damaged"),
        "cut.webp": (b"RIFF\x10\0\0\0WEBPVP8 ", "damaged|pixels"),
        "zero.png": (
            plain_png(np.zeros((1, 1, 1), np.uint8)).replace(b"\0\0\0\1\0\0\0\1", b"\0" * 8),
            "damaged|pixels",
        ),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(images.BadImage, match=reason) as caught:
            images.read(tmp_path / name)
        assert "\n" not in caught.value.reason
        assert name in str(caught.value)
    with pytest.raises(images.BadImage, match="no such file"):
        images.read(tmp_path / "absent.png")


def test_random_damage_never_escapes_as_another_exception(tmp_path: Path) -> None:
    """A decoder's unusual exception would end a night's run without the file's name."""
    rng = np.random.default_rng(3)
    tifffile.imwrite(tmp_path / "s.tif", noise(20, 20, 3, 16), photometric="rgb", compression="zlib")
    flat(tmp_path / "s.gif").touch()
    flat(tmp_path / "s.webp").touch()
    sources = [
        plain_png(noise(20, 20, 3, 16)),
        *((tmp_path / f"s.{kind}").read_bytes() for kind in ("tif", "gif", "webp")),
    ]
    path = tmp_path / "x.bin"
    refused = 0
    for turn in range(300):
        data = bytearray(sources[turn % 4])
        for place in rng.integers(0, len(data), 4):
            data[place] = rng.integers(256)
        path.write_bytes(bytes(data[: int(rng.integers(1, len(data) + 1))] if turn % 3 == 0 else data))
        try:
            images.read(path, 10**6)
        except images.BadImage:
            refused += 1
    assert refused > 50
