"""Boxes, maps, masks and arrays of a folder: read as numbers, moved with their image, and never from outside."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentry.data.dataset import ImageData, Pick
from latentry.data.files import images, maps
from latentry.data.files.header import BadImage
from latentry.data.sample import FIELDS
from latentry.errors import LatentryError, UsageError
from tests.unit.data.files import flat, metadata, noise, options, plain_png

EVERYTHING = {"boxes": "objects", "semantic": "semantic", "mask": "hole", "arrays": ["depth", "counts", "vector"]}
BOX = (9, 3, 12, 14)


def scene(root: Path, name: str = "a", height: int = 24, width: int = 40, box: Any = BOX) -> dict[str, Any]:
    """A green box on black, with everything that can be said of it; the line of its metadata."""
    x, y, w, h = box
    inside = np.zeros((height, width), dtype=bool)
    inside[y : y + h, x : x + w] = True
    colours = np.zeros((height, width, 3), dtype=np.uint8)
    colours[inside] = (0, 255, 0)
    Image.fromarray(colours).save(root / f"{name}.png")
    palette = Image.fromarray(np.where(inside, 200, 3).astype(np.uint8))
    palette.putpalette([7] * 768)
    palette.save(root / f"{name}_classes.png")
    Image.fromarray(inside).save(root / f"{name}_hole.png")
    np.save(root / f"{name}_depth.npy", np.stack([inside * 5.0, inside * -2.0], axis=2))
    np.save(root / f"{name}_counts.npy", inside.astype(">i4") * 70000)
    np.save(root / f"{name}_vector.npy", np.arange(5, dtype=np.float16))
    return {
        "file_name": f"{name}.png",
        "objects": {"bbox": [list(box)], "category": [17]},
        "semantic": f"{name}_classes.png",
        "hole": f"{name}_hole.png",
        "depth": f"{name}_depth.npy",
        "counts": f"{name}_counts.npy",
        "vector": f"{name}_vector.npy",
    }


def inner(mask: NDArray[Any], by: int) -> NDArray[Any]:
    """A mask without the pixels at its edge."""
    rows = [np.roll(mask, n, axis=0) for n in range(-by, by + 1)]
    columns = [np.roll(np.logical_and.reduce(rows), n, axis=1) for n in range(-by, by + 1)]
    return np.logical_and.reduce(columns)


@pytest.mark.parametrize("crop", ["center", "random", "pad"])
@pytest.mark.parametrize("size", [16, 24, 33])
def test_all_of_a_sample_lies_on_its_image(tmp_path: Path, crop: str, size: int) -> None:
    """Whatever is drawn at a place, from a first reading or from memory: nothing may miss the flip or the crop."""
    metadata(tmp_path, [scene(tmp_path)])
    o = options(size=size, held_out=0, crop=crop, flip=True, background="black", **EVERYTHING)
    data = ImageData(o, tmp_path, seed=1)
    assert data.carries == {"image", "boxes", "semantic", "mask", "arrays"}
    picks = [data.pick(position) for position in range(12)]
    assert {pick.flip for pick in picks} == {True, False}
    for pick in picks:
        sample = data.load(pick)
        assert sample.pixels is not None
        green = sample.pixels[..., 1] > 127
        sure, never = inner(green, 1), inner(~green, 1)
        assert sure.any()
        assert sample.semantic is not None
        assert sample.semantic.dtype == np.int64
        assert (sample.semantic[sure] == 200).all()
        assert set(np.unique(sample.semantic[never])) == ({0, 3} if crop == "pad" else {3})
        assert sample.mask is not None
        assert sample.mask[sure].all()
        assert not sample.mask[never].any()
        depth, counts = sample.arrays["depth"], sample.arrays["counts"]
        np.testing.assert_allclose(depth[inner(green, 2)][:, 1], -2, atol=1e-5)
        assert abs(depth[inner(~green, 2)]).max() < 1e-5
        assert set(np.unique(counts[sure])) == {70000}
        assert counts.dtype == np.int32
        np.testing.assert_array_equal(sample.arrays["vector"], np.arange(5))
        assert sample.boxes is not None
        assert sample.boxes.names == ("17",)
        rows, columns = np.flatnonzero(green.any(1)), np.flatnonzero(green.any(0))
        edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        np.testing.assert_allclose(sample.boxes.corners[0] * size, edges, atol=1)


def test_only_what_is_read_is_opened(tmp_path: Path) -> None:
    """With cached latents a caption must not cost the decoding of an image, nor need the file to be there."""
    line = scene(tmp_path) | {"text": "a box", "label": "green"}
    metadata(tmp_path, [line])
    o = options(size=16, held_out=0, text="text", label="label", **EVERYTHING)
    data = ImageData(o, tmp_path)
    assert data.carries == FIELDS
    (tmp_path / "a.png").write_bytes(b"")
    sample = data.load(Pick(7, 0, flip=True), frozenset({"caption", "label"}))
    assert (sample.caption, sample.label, sample.position, sample.flip) == ("a box", "green", 7, True)
    assert sample.pixels is None
    assert sample.boxes is None
    assert sample.semantic is None
    assert sample.mask is None
    assert sample.arrays == {}
    with pytest.raises(LatentryError, match="no image could be read"):
        data.load(Pick(7, 0), frozenset({"semantic"}))


def test_maps_without_the_image_need_only_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map beside cached latents: the same as in the whole sample, and no pixel of the image decoded."""
    metadata(tmp_path, [scene(tmp_path)])
    o = options(size=16, held_out=0, crop="random", flip=True, **EVERYTHING)
    whole, bare = ImageData(o, tmp_path, seed=2), ImageData(o, tmp_path, seed=2)
    expected = [whole.load(whole.pick(position)) for position in range(6)]
    monkeypatch.setattr(images, "decode", None)
    for position, sample in enumerate(expected):
        result = bare.load(bare.pick(position), frozenset({"semantic", "boxes"}))
        assert result.pixels is None
        assert result.boxes is not None
        assert sample.boxes is not None
        np.testing.assert_array_equal(result.semantic, sample.semantic)
        np.testing.assert_array_equal(result.boxes.corners, sample.boxes.corners)


def test_a_bad_map_is_a_bad_file_and_the_whole_sample_is_replaced(tmp_path: Path) -> None:
    """The box of the broken one beside the pixels of its replacement would be a lie."""
    lines = [scene(tmp_path, f"{n}", box=(n, 2, 10, 10)) | {"text": f"t{n}", "label": n} for n in range(6)]
    flat(tmp_path / "2_classes.png", 3, (16, 16), "L")
    metadata(tmp_path, lines)
    said: list[str] = []
    o = options(size=24, held_out=0, text="text", label="label", boxes="objects", semantic="semantic")
    data = ImageData(o, tmp_path, report=said.append)
    sample = data.sample(2)
    assert sample.index != 2
    assert (sample.caption, sample.label) == (f"t{sample.index}", str(sample.index))
    again = data.sample(sample.index)
    assert sample.boxes is not None
    assert again.boxes is not None
    np.testing.assert_array_equal(sample.boxes.corners, again.boxes.corners)
    np.testing.assert_array_equal(sample.pixels, again.pixels)
    assert said == ["skipped 2_classes.png: is 16x16 pixels, but its image 2.png is 40x24"]
    assert data.sample(2, frozenset({"image"})).index == 2, "nothing is wrong with the image itself"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_everything_is_said_of_the_upright_image(tmp_path: Path, orientation: int) -> None:
    """A photo from a phone is turned; what is said of it was said of what people saw."""
    line = scene(tmp_path)
    upright = np.asarray(Image.open(tmp_path / "a.png"))
    turn = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM}
    turn |= {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE}
    turn |= {8: Image.Transpose.ROTATE_270}
    stored = Image.fromarray(upright)
    stored = stored.transpose(turn[orientation]) if orientation in turn else stored
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    metadata(tmp_path, [line | {"file_name": "a.jpg"}])
    data = ImageData(options(size=[24, 40], held_out=0, **EVERYTHING), tmp_path)
    sample = data.sample(0)
    assert sample.pixels is not None
    assert sample.boxes is not None
    assert sample.mask is not None
    assert (sample.pixels[..., 1] > 127).mean() > 0.1
    assert ((sample.pixels[..., 1] > 127) != sample.mask).mean() < 0.05
    np.testing.assert_allclose(sample.boxes.corners[0] * [40, 24, 40, 24], [9, 3, 21, 17], atol=1e-4)


def test_a_turned_map_is_turned_upright_as_its_image_is(tmp_path: Path) -> None:
    """A program that turns photos by EXIF alone does the same to maps it saves beside them."""
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(numbers))).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(maps.read_classes(tmp_path / "a.png"), numbers)


def test_class_numbers_are_the_values_in_the_file(tmp_path: Path) -> None:
    """Colours of a palette, or grey stretched to 0..255, would be classes that do not exist."""
    numbers = np.arange(12).reshape(3, 4)
    for bits in (1, 2, 4, 8):
        values = numbers % 2**bits
        path = tmp_path / f"{bits}.png"
        image = Image.fromarray(values.astype(np.uint8))
        image.putpalette([(n * 91) % 256 for n in range(768)])
        image.save(path, bits=bits)
        np.testing.assert_array_equal(maps.read_classes(path), values)
    for bits in (2, 4):
        path = tmp_path / f"grey{bits}.png"
        path.write_bytes(grey_png(numbers % 2**bits, bits))
        np.testing.assert_array_equal(maps.read_classes(path), numbers % 2**bits)
    deep = noise(5, 7, 1, 16)
    (tmp_path / "deep.png").write_bytes(plain_png(deep))
    np.testing.assert_array_equal(maps.read_classes(tmp_path / "deep.png"), deep[..., 0])


def grey_png(values: NDArray[Any], bits: int) -> bytes:
    """A grey PNG of 2 or 4 bits a pixel, which Pillow does not write: an 8-bit one of the packed bytes, renamed."""
    height, width = values.shape
    per_byte = 8 // bits
    packed = np.zeros((height, -(-width // per_byte)), dtype=np.uint8)
    for column in range(width):
        packed[:, column // per_byte] |= (values[:, column] << (8 - bits - column % per_byte * bits)).astype(np.uint8)
    return plain_png(packed[..., None], width=width, bits=bits)


def test_colours_and_jpeg_are_no_class_numbers(tmp_path: Path) -> None:
    """The red channel of a colour-coded map, or JPEG's ripples, would be taken for classes without a word."""
    with pytest.raises(BadImage, match=r"holds colours \(RGB\), not class numbers; save one number a pixel"):
        maps.read_classes(flat(tmp_path / "a.png"))
    with pytest.raises(BadImage, match="JPEG changes class numbers"):
        maps.read_classes(flat(tmp_path / "a.jpg", 3, mode="L"))
    (tmp_path / "cut.png").write_bytes(flat(tmp_path / "b.png", 3, (64, 64), "L").read_bytes()[:60])
    with pytest.raises(BadImage, match="damaged"):
        maps.read_classes(tmp_path / "cut.png")


class _Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harmed"),))


def test_arrays_run_nothing_and_hold_finite_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .npy file comes with downloads; a pickle in it would run code, a NaN would reach every weight."""
    monkeypatch.chdir(tmp_path)
    np.save("objects.npy", np.array([_Harm()], dtype=object), allow_pickle=True)
    Path("pickle.npy").write_bytes(pickle.dumps(_Harm()))
    np.save("nan.npy", np.array([1.0, np.nan]))
    np.save("text.npy", np.array(["a"]))
    np.save("many.npy", np.zeros((20, 20)))
    np.save("cut.npy", np.zeros(100))
    Path("cut.npy").write_bytes(Path("cut.npy").read_bytes()[:300])
    expected = {"objects": "damaged", "pickle": "not a .npy", "nan": "1 values are not finite", "text": "holds <U1"}
    expected |= {"many": "400 numbers, more than data.pixel_limit = 300", "cut": "damaged", "absent": "no such file"}
    for name, reason in expected.items():
        with pytest.raises(BadImage, match=reason):
            maps.read_array(f"{name}.npy", 300)
    assert not Path("harmed").exists()


OBJECTS = {
    "a list": ([1], r"a\.png: objects is \[1\]; accepted: .*bbox"),
    "no classes": ({"bbox": [[0, 0, 1, 1]]}, "objects is .*; accepted"),
    "fewer classes": ({"bbox": [[0, 0, 1, 1]], "category": []}, "has 1 boxes and 0 categories"),
    "three numbers": ({"bbox": [[0, 0, 1]], "category": ["a"]}, r"has the box \[0, 0, 1\]"),
    "turned round": ({"bbox": [[5, 5, -1, 2]], "category": ["a"]}, r"has the box \[5, 5, -1, 2\]"),
    "infinite": ({"bbox": [[0, 0, float("inf"), 2]], "category": ["a"]}, "has the box"),
    "a class that is none": ({"bbox": [[0, 0, 1, 1]], "category": [None]}, "has the category None"),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_boxes_that_cannot_be_followed_are_named_before_training(tmp_path: Path, case: str) -> None:
    """In the middle of the night they would end it, or be silently other boxes."""
    value, expected = OBJECTS[case]
    flat(tmp_path / "a.png")
    metadata(tmp_path, [{"file_name": "a.png", "objects": value}])
    with pytest.raises(UsageError, match=f"data.boxes: .*{expected}"):
        ImageData(options(size=8, held_out=0, boxes="objects"), tmp_path)


def test_an_image_without_objects_has_no_boxes(tmp_path: Path) -> None:
    """An empty street is an example too."""
    metadata(tmp_path, [scene(tmp_path), scene(tmp_path, "b") | {"objects": None}])
    data = ImageData(options(size=16, held_out=0, boxes="objects"), tmp_path)
    boxes = data.sample(1).boxes
    assert boxes is not None
    assert boxes.corners.shape == (0, 4)
    assert boxes.names == ()


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "..\\secret.png", "C:\\x.png", "link.png", 5, ""])
@pytest.mark.parametrize("option", ["semantic", "mask", "arrays"])
def test_metadata_cannot_make_it_read_other_files(tmp_path: Path, option: str, name: Any) -> None:
    """It comes with downloads: the user's own files are none of its business."""
    flat(tmp_path / "secret.png", 1, mode="L")
    root = tmp_path / "data"
    flat(root / "a.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    metadata(root, [{"file_name": "a.png", "field": name}])
    value = ["field"] if option == "arrays" else "field"
    with pytest.raises(UsageError, match=rf"data\.{option}: field .*(stays in the folder|do not exist)"):
        ImageData(options(size=8, held_out=0, **{option: value}), root)


def test_a_file_swapped_for_a_link_later_is_not_followed(tmp_path: Path) -> None:
    """The look before training is not the only one."""
    root = tmp_path / "data"
    root.mkdir()
    metadata(root, [scene(root)])
    data = ImageData(options(size=16, held_out=0, semantic="semantic"), root)
    (root / "a_classes.png").rename(tmp_path / "secret.png")
    (root / "a_classes.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(LatentryError, match="semantic names no file in the data folder"):
        data.sample(0)


def test_missing_fields_and_files_are_refused_by_name(tmp_path: Path) -> None:
    """A misspelt field must not train without a word on samples that lack it."""
    metadata(tmp_path, [scene(tmp_path), {"file_name": flat(tmp_path / "b.png").name}])
    for option, value in {
        "boxes": "object",
        "semantic": "semantics",
        "mask": "mask",
        "arrays": ["depth", "height"],
    }.items():
        with pytest.raises(UsageError, match=rf'data\.{option}: no image has a field "'):
            ImageData(options(size=8, held_out=0, **{option: value}), tmp_path)
    with pytest.raises(UsageError, match=r"data\.semantic: 1 images have no semantic: b\.png"):
        ImageData(options(size=8, held_out=0, semantic="semantic"), tmp_path)
    kept = options(size=8, held_out=0, semantic="semantic", where={"semantic": "a_classes.png"})
    assert len(ImageData(kept, tmp_path)) == 1


def test_names_are_relative_to_their_metadata_file(tmp_path: Path) -> None:
    """A set of several downloads, each with its own metadata."""
    (tmp_path / "part").mkdir()
    metadata(tmp_path / "part", [scene(tmp_path / "part")])
    sample = ImageData(options(size=24, held_out=0, semantic="semantic"), tmp_path).sample(0)
    assert sample.semantic is not None
    assert set(np.unique(sample.semantic)) == {3, 200}


def test_a_changed_map_is_a_change_of_the_data(tmp_path: Path) -> None:
    """A resume on other maps is another experiment; without the option they are no part of it."""
    metadata(tmp_path, [scene(tmp_path)])
    named, bare = options(size=24, held_out=0, semantic="semantic"), options(size=24, held_out=0)
    before = [ImageData(o, tmp_path).fingerprint for o in (named, bare)]
    flat(tmp_path / "a_classes.png", 5, (40, 24), "L")
    after = [ImageData(o, tmp_path).fingerprint for o in (named, bare)]
    assert before[0] != after[0]
    assert before[1] == after[1]
