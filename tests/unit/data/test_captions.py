"""Captions as people have them. If these fail, a model is trained on no text, or on wrong text, without a word."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from latentry.data.folders import select
from latentry.data.folders.check import check
from latentry.data.folders.metadata.captions import LONGEST
from latentry.data.folders.records import Folder, read_folder, real_root
from latentry.errors import UsageError
from tests.unit.data.files import metadata, numbered, options

TEXT = options(size=8, text="text")


def read(root: Path, **given: object) -> Folder:
    return read_folder(real_root(root), options(size=8, **given))


def captions(folder: Folder) -> list[str]:
    return [text for record in folder.records for text in select.captions_of(record, "text")]


def write_texts(root: Path, texts: list[str | None]) -> None:
    for image, text in zip(numbered(root, len(texts)), texts, strict=True):
        if text is not None:
            image.with_suffix(".txt").write_text(text, encoding="utf-8")


def test_text_files_beside_images_are_captions_and_one_without_is_counted(tmp_path: Path) -> None:
    """What every trainer of small adapters wants: tags or a sentence in NAME.txt."""
    write_texts(tmp_path, ["a bright corner\n", "cat, red,  sitting", "two\nlines", "", None])
    folder = read(tmp_path, text="text")
    assert captions(folder) == ["a bright corner", "cat, red, sitting", "two lines", "", ""]
    assert folder.remarks.read == [
        "captions are read from NAME.txt beside 4 of 5 images; 1 images have none; 1 of the files are empty"
    ]
    report = check(tmp_path, TEXT)
    assert (report.captions, report.empty_captions) == (5, 2)
    assert check(tmp_path).captions == 5


def test_text_files_in_sub_folders_under_other_suffixes_and_in_utf16(tmp_path: Path) -> None:
    numbered(tmp_path / "a", 3)
    (tmp_path / "a" / "0000.caption").write_text("one", encoding="utf-16")
    (tmp_path / "a" / "0001.png.txt").write_bytes(b"\xef\xbb\xbftwo")
    (tmp_path / "a" / "0002.txt").write_text("drei Äpfel")
    assert captions(read(tmp_path, text="auto")) == ["one", "two", "drei Äpfel"]


def test_text_files_that_a_recipe_does_not_want_are_named(tmp_path: Path) -> None:
    write_texts(tmp_path, ["a", "b"])
    folder = read(tmp_path)
    assert known(folder) == set()
    assert folder.remarks.left == ["2 text files, as the recipe's data.text is null"]


def known(folder: Folder) -> set[str]:
    return {name for record in folder.records for name in record.fields}


def test_metadata_goes_before_text_files_and_both_are_counted(tmp_path: Path) -> None:
    write_texts(tmp_path, ["from a file"] * 4)
    metadata(tmp_path, [{"file_name": f"{n:04d}.png", "text": "from the table" if n < 3 else None} for n in range(4)])
    folder = read(tmp_path, text="text")
    assert captions(folder) == ["from the table"] * 3 + ["from a file"]
    assert folder.remarks.read == ["captions are read from NAME.txt beside 1 of 4 images"]
    assert folder.remarks.left == ["3 NAME.txt files beside images of which the metadata has a caption"]


def test_text_files_of_boxes_and_of_no_image_are_no_captions(tmp_path: Path) -> None:
    """Detectors keep boxes in NAME.txt: a model would learn to draw `0 0.51 0.49 0.2 0.2`."""
    write_texts(tmp_path, ["0 0.5 0.5 0.25 0.125\n1 0.1 0.2 0.3 0.4", "2 0.5 0.5 1 1", ""])
    (tmp_path / "README.txt").write_text("about this set")
    folder = read(tmp_path, text="auto")
    assert captions(folder) == ["", "", ""]
    assert folder.remarks.left == [
        "3 files (first: 0000.txt), which may hold boxes (YOLO): data.boxes=objects reads them",
        "1 text file beside no image (first: README.txt)",
    ]


@pytest.mark.parametrize(
    "lines",
    [
        "image,caption\n0000.png,a cat\n0001.png,a dog\n",
        "0000.png#0\ta cat\n0000.png#1\tthe cat\n0001.png#0\ta dog\n",
        "1 images/0000.png\n2 images/0001.png\n",
        "./0000.png\n./0001.png\n",
    ],
    ids=["csv", "flickr", "numbered", "paths"],
)
@pytest.mark.parametrize("wanted", ["auto", None])
def test_a_text_file_that_lists_images_is_told_from_one_that_does_not(
    lines: str, wanted: str | None, tmp_path: Path
) -> None:
    numbered(tmp_path, 3)
    (tmp_path / "captions.txt").write_text(lines)
    (tmp_path / "README.txt").write_text("See 0000.png.\nAll by us.\n")
    assert read(tmp_path, text=wanted).remarks.left == [
        "captions.txt, whose lines name images: write them into a metadata.csv of the columns file_name and text, "
        "label or split",
        "1 text file beside no image (first: README.txt)",
    ]


def test_a_caption_of_ten_megabytes_is_bounded_and_said(tmp_path: Path) -> None:
    """A tokenizer would spend minutes on it."""
    write_texts(tmp_path, ["ü" * 5_000_000, "short"])
    folder = read(tmp_path, text="text")
    assert captions(folder) == ["ü" * LONGEST, "short"]
    assert f"of 1 caption only the first {LONGEST} characters are read (first: 0000.txt)" in folder.remarks.read
    metadata(tmp_path, [{"file_name": "0000.png", "text": "x" * 10_000_000}])
    report = check(tmp_path, TEXT)
    assert f"of 1 captions only the first {LONGEST} characters are read" in report.read


def test_a_text_file_that_cannot_be_decoded_is_named_and_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    write_texts(tmp_path, ["a", "b"])
    (tmp_path / "0001.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(UsageError, match=r"0001\.txt: byte 3 is not UTF-8"):
        read(tmp_path, text="text")
    assert any("0001.txt" in problem for problem in check(tmp_path, TEXT).problems)
    (tmp_path / "0001.txt").unlink()
    os.mkfifo(tmp_path / "0001.txt")
    assert captions(read(tmp_path, text="text")) == ["a", ""]


@pytest.mark.parametrize("name", ["caption", "prompt", "description", "sentence"])
def test_captions_under_other_names_are_read_and_told(name: str, tmp_path: Path) -> None:
    numbered(tmp_path, 3)
    metadata(tmp_path, [{"file_name": f"{n:04d}.png", name: f"thing {n}"} for n in range(3)])
    folder = read(tmp_path, text="auto")
    assert captions(folder) == ["thing 0", "thing 1", "thing 2"]
    assert folder.remarks.read == [f"the metadata has no `text`: `{name}` is read as text"]
    assert read(tmp_path, text=name).remarks.read == [], "a recipe that names the field needs no telling"


def test_the_usual_name_wins_and_classes_have_other_names_too(tmp_path: Path) -> None:
    numbered(tmp_path, 2)
    metadata(tmp_path, [{"file_name": f"{n:04d}.png", "text": "t", "caption": "c", "class": "k"} for n in range(2)])
    folder = read(tmp_path, text="auto", label="auto")
    assert captions(folder) == ["t", "t"]
    assert folder.remarks.read == ["the metadata has no `label`: `class` is read as label"]
    assert [select.value_of(record, "label") for record in folder.records] == ["k", "k"]


@pytest.mark.parametrize("name", ["image", "file", "filename", "path", "img", "image_path"])
def test_file_names_under_other_names_are_read_and_told(name: str, tmp_path: Path) -> None:
    numbered(tmp_path, 2)
    rows = [{name: f"{n:04d}.png", "text": str(n)} for n in range(2)]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = read(tmp_path, text="text")
    assert captions(folder) == ["0", "1"]
    assert folder.remarks.read == [f"metadata: `{name}` is read as file_name (2 of 2 rows)"]


def test_captions_in_a_folder_of_their_own_belong_to_the_images_beside_it(tmp_path: Path) -> None:
    """As annotators hand them over: images/ and captions/, in each split; the caption beside an image goes before."""
    for split in ("train", "val"):
        for name in ("a", "b"):
            path = tmp_path / split / "images" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(path)
            (tmp_path / split / "captions").mkdir(exist_ok=True)
            (tmp_path / split / "captions" / f"{name}.txt").write_text(f"{name} of {split}")
    (tmp_path / "val" / "images" / "b.txt").write_text("its own")
    folder = read(tmp_path, text="auto")
    assert captions(folder) == ["a of train", "b of train", "a of val", "its own"]
    assert folder.remarks.read[0] == "captions are read from NAME.txt of 4 of 4 images"
    assert folder.remarks.left == ["1 text file beside no image (first: val/captions/b.txt)"]


def test_captions_of_two_images_of_one_name_are_nobodys(tmp_path: Path) -> None:
    for folder in ("cats", "dogs"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "a.png")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("which?")
    found = read(tmp_path, text="auto")
    assert [record.fields.get("text") for record in found.records] == [None, None]
    assert found.remarks.left == ["1 text file beside no image (first: texts/a.txt)"]
