"""Files of several images: what their pages are is said, and chosen by `data.pages`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from latentry.data.dataset import ImageData
from latentry.data.files import images
from latentry.data.files.limits import Limits
from latentry.data.folders.check import check
from tests.unit.data.files import metadata, noise, options

FIRST, EACH, BANDS = (Limits(pages=name) for name in ("first", "each", "bands"))


def volume(pages: int, bits: int = 8) -> Any:
    """(pages, 24, 20)."""
    return np.ascontiguousarray(noise(24, 20, pages, bits).transpose(2, 0, 1))


def test_a_stack_without_named_axes_is_no_picture_of_48_channels(tmp_path: Path) -> None:
    """A film or volume taken for one image of many bands trains a model of nothing, and says "ok"."""
    pages = volume(48)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    header, got = images.decode(tmp_path / "a.tif")
    np.testing.assert_array_equal(got, pages[0][..., None])
    assert header.frames == 48
    (note,) = header.notes
    assert all(words in note for words in ("48 pages", "axes not named", "only the first", "data.pages")), note
    assert ("a.tif", note) in check(tmp_path).notes


@pytest.mark.parametrize(
    ("how", "axes", "taken"),
    [
        ({"ome": True, "metadata": {"axes": "ZYX"}}, "Z 10", 1),
        ({"ome": True, "metadata": {"axes": "TYX"}}, "T 10", 1),
        ({"ome": True, "metadata": {"axes": "CYX"}}, "C 10", 10),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, "Z 10", 1),
        ({"imagej": True, "metadata": {"axes": "CYX"}}, "C 10", 10),
        ({"metadata": {"axes": "TYX"}, "photometric": "minisblack"}, "T 10", 1),
        ({"metadata": {"axes": "CYX"}, "photometric": "minisblack"}, "C 10", 10),
    ],
)
def test_pages_are_what_the_axes_say(tmp_path: Path, how: dict[str, Any], axes: str, taken: int) -> None:
    """Microscopes write channels, depth and time as pages, and say which."""
    pages = volume(10, 16)
    tifffile.imwrite(tmp_path / "a.tif", pages, **how)
    header, got = images.decode(tmp_path / "a.tif")
    np.testing.assert_array_equal(got, np.moveaxis(pages[:taken], 0, -1))
    assert f"10 pages ({axes})" in header.notes[0]
    header, got = images.decode(tmp_path / "a.tif", BANDS)
    np.testing.assert_array_equal(got, np.moveaxis(pages, 0, -1))
    assert "10 bands" in header.notes[0]


@pytest.mark.parametrize("order", ["CZYX", "ZCYX", "TCZYX"])
@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_channels_of_a_hyperstack_belong_to_one_image(tmp_path: Path, order: str, kind: str) -> None:
    """Two stains at ten depths are ten images of two channels, wherever the file puts which."""
    if kind == "imagej" and order != "ZCYX":
        pytest.skip("ImageJ has one order")
    sizes = {"T": 3, "C": 2, "Z": 5, "Y": 24, "X": 20}
    array = np.random.default_rng(0).integers(0, 255, [sizes[letter] for letter in order], dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": order}, **{kind: True})
    channels_last = np.moveaxis(array, order.index("C"), -1).reshape(-1, 24, 20, 2)
    header, got = images.decode(tmp_path / "a.tif")
    assert header.frames == len(channels_last)
    assert "of 2 bands (C)" in header.notes[0]
    np.testing.assert_array_equal(got, channels_last[0])
    for number, expected in enumerate(channels_last):
        np.testing.assert_array_equal(images.decode(f"{tmp_path}/a.tif#{number}", EACH)[1], expected)
    with pytest.raises(images.BadImage, match=rf"a\.tif#{len(channels_last)}: has {len(channels_last)} images"):
        images.decode(f"{tmp_path}/a.tif#{len(channels_last)}", EACH)


def test_a_large_imagej_stack_has_one_directory(tmp_path: Path) -> None:
    """ImageJ writes the pixels of all pages behind the tags of the first; read alone, the others would be lost."""
    pages = volume(7, 16)
    text = "ImageJ=1.53\nimages=7\nslices=7\n"
    tifffile.imwrite(tmp_path / "one.tif", pages[0], description=text, metadata=None, byteorder=">")
    with (tmp_path / "one.tif").open("ab") as file:
        file.write(pages[1:].astype(">u2").tobytes())
    for number, expected in enumerate(pages):
        np.testing.assert_array_equal(images.decode(f"{tmp_path}/one.tif#{number}", EACH)[1][..., 0], expected)


def test_few_unnamed_pages_are_bands_and_said(tmp_path: Path) -> None:
    """Bands as pages, as many scripts write them, stay bands; `first` overrules it."""
    pages = volume(5)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    header, got = images.decode(tmp_path / "a.tif")
    np.testing.assert_array_equal(got, np.moveaxis(pages, 0, -1))
    assert "read as 5 bands; data.pages says otherwise" in header.notes[0]
    assert images.decode(tmp_path / "a.tif", FIRST)[1].shape == (24, 20, 1)


def test_pages_of_another_size_are_said(tmp_path: Path) -> None:
    """A label or macro picture of a slide is no page of it."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(noise(24, 20, 3), photometric="rgb")
        file.write(noise(9, 9, 3), photometric="rgb")
    header = images.header(tmp_path / "a.tif")
    assert (header.width, header.frames) == (20, 1)
    assert header.notes == ("1 pages of another kind than the first are not read",)


def test_scanned_pages_are_a_stack_of_colour_images(tmp_path: Path) -> None:
    """Documents of several pages by Pillow, each of three channels."""
    pages = [Image.fromarray(noise(24, 20, 3, seed=n)) for n in range(12)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert images.header(tmp_path / "a.tif").channels == 3
    np.testing.assert_array_equal(images.decode(f"{tmp_path}/a.tif#11", EACH)[1], np.asarray(pages[11]))


def _volumes(root: Path, count: int = 6) -> np.ndarray[Any, Any]:
    root.mkdir(exist_ok=True)
    films = np.stack([volume(9) // 2 + n for n in range(count)])
    for n, film in enumerate(films):
        tifffile.imwrite(root / f"{n}.tif", film, metadata={"axes": "TYX"}, photometric="minisblack")
    return films


def test_each_page_is_a_sample_and_keeps_its_files_caption_and_side(tmp_path: Path) -> None:
    """Nearly equal pages of one film on both sides of the split would make the held-out figures a lie."""
    films = _volumes(tmp_path)
    metadata(tmp_path, [{"file_name": f"{n}.tif", "text": f"film {n}"} for n in range(6)])
    told: list[str] = []
    how = options(size=16, channels=1, pages="each", text="text", held_out=0.4)
    train = ImageData(how, tmp_path, report=told.append)
    held = train.other("held_out")
    assert len(train) + len(held) == 54
    sides = [{record.path.split("#")[0] for record in data.records} for data in (train, held)]
    assert not sides[0] & sides[1]
    assert all(sides)
    for index, record in enumerate(train.records):
        number, page = record.path.split(".tif#")
        assert train.text(index) == f"film {number}"
        pixels = train.sample(index).pixels
        assert pixels is not None
        assert abs(float(pixels.mean()) - films[int(number), int(page)].mean()) < 8
    assert any("54 of the images: 9 pages (T 9)" in line and "each used" in line for line in told)
    assert list(train.listing().entries) == [f"{n}.tif" for n in range(6)]
    report = check(tmp_path, how)
    assert report.ok
    assert report.images == 54


def test_training_is_told_that_only_the_first_page_is_taken(tmp_path: Path) -> None:
    """What is left out of every file is not passed over without a word."""
    _volumes(tmp_path)
    told: list[str] = []
    data = ImageData(options(size=16, channels=1), tmp_path, report=told.append)
    assert len(data) + len(data.other("held_out")) == 6
    assert any("6 of the images: 9 pages (T 9): 9 images, only the first is used" in line for line in told)


def test_a_damaged_page_is_named_with_its_number(tmp_path: Path) -> None:
    """Of 48 pages the one that cannot be read is to be found."""
    _volumes(tmp_path, 3)
    with tifffile.TiffWriter(tmp_path / "9.tif") as file:
        for n in range(4):
            file.write(noise(24, 20, 1, seed=n)[..., 0], compression="zlib", photometric="minisblack", metadata=None)
    with tifffile.TiffFile(tmp_path / "9.tif") as file:
        at = file.pages[2].dataoffsets[0]
    content = bytearray((tmp_path / "9.tif").read_bytes())
    content[at : at + 8] = b"\xff" * 8
    (tmp_path / "9.tif").write_bytes(content)
    report = check(tmp_path, options(size=16, channels=1, pages="each"))
    assert [path for path, _ in report.bad] == ["9.tif#2"]
