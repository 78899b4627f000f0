"""Splits that a folder states. If these fail, a model is trained on its test images, or learns a class "train"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from latentry.data.dataset import ImageData
from latentry.data.folders import select
from latentry.data.folders.check import check
from latentry.data.folders.records import Folder, read_folder, real_root
from latentry.errors import UsageError
from tests.unit.data.files import metadata, numbered, options


def images(root: Path, *folders: str, count: int = 3) -> Path:
    for folder in folders:
        numbered(root / folder, count)
    return root


def read(root: Path, **given: Any) -> Folder:
    return read_folder(real_root(root), options(size=8, **given))


def sides(root: Path, **given: Any) -> dict[str, list[str]]:
    """The images of each side, by the folder they lie in."""
    chosen = options(**{"size": 8, **given})
    sides: dict[str, list[str]] = {"train": [], "held_out": []}
    for record in read_folder(real_root(root), chosen).records:
        sides["held_out" if select.held_out(record, chosen) else "train"].append(record.path.rpartition("/")[0])
    return {side: sorted(set(folders)) for side, folders in sides.items()}


@pytest.mark.parametrize("other", ["test", "val", "validation", "Test", "dev"])
def test_folders_called_train_and_test_are_splits_and_classes_lie_in_them(other: str, tmp_path: Path) -> None:
    train = "Train" if other == "Test" else "train"
    images(tmp_path, f"{train}/cat", f"{train}/dog", f"{other}/cat", f"{other}/dog")
    assert sides(tmp_path, label="folder", held_out=0.5) == {
        "train": [f"{train}/cat", f"{train}/dog"],
        "held_out": [f"{other}/cat", f"{other}/dog"],
    }
    folder = read(tmp_path, label="folder")
    assert select.label_names(folder.records, "folder") == ["cat", "dog"]
    assert folder.remarks.read == [
        f"the folders at the top are splits: {train} (6) trained on; {other} (6) kept from training and measured on; "
        "data.splits: off turns this off"
    ]


@pytest.mark.parametrize(
    ("train", "other"),
    [("train2017", "val2017"), ("training_set", "test_set"), ("Train Images", "Test Images"), ("trainset", "testset")],
)
def test_splits_are_known_by_names_with_something_behind_them(train: str, other: str, tmp_path: Path) -> None:
    images(tmp_path, f"{train}/cat", f"{other}/cat")
    assert sides(tmp_path) == {"train": [f"{train}/cat"], "held_out": [f"{other}/cat"]}


@pytest.mark.parametrize("folder", ["trainers", "testament", "value", "evaluated", "train station", "devices"])
def test_words_that_only_begin_like_splits_are_classes(folder: str, tmp_path: Path) -> None:
    images(tmp_path, folder, "train")
    assert read(tmp_path).remarks.read == []
    assert select.are_classes(read(tmp_path).records, "folder")


def test_both_test_and_validation_are_kept_from_training(tmp_path: Path) -> None:
    images(tmp_path, "train", "val", "test")
    assert sides(tmp_path) == {"train": ["train"], "held_out": ["test", "val"]}
    assert not any(select.are_classes(read(tmp_path).records, field) for field in ("folder", "label"))


def test_an_option_turns_splits_off(tmp_path: Path) -> None:
    images(tmp_path, "train/cat", "test/cat", count=40)
    off = sides(tmp_path, splits="off", held_out=0.3)
    assert off == {"train": ["test/cat", "train/cat"], "held_out": ["test/cat", "train/cat"]}
    folder = read(tmp_path, splits="off")
    assert select.label_names(folder.records, "folder") == ["test", "train"]
    assert folder.remarks.read == []


def test_a_class_that_happens_to_be_called_train_stays_one(tmp_path: Path) -> None:
    images(tmp_path, "train", "bus", "tram", count=4)
    folder = read(tmp_path, label="folder")
    assert select.label_names(folder.records, "folder") == ["bus", "train", "tram"]
    assert {record.split for record in folder.records} == {""}


def test_train_alone_is_no_split_and_no_class(tmp_path: Path) -> None:
    images(tmp_path, "train/cat", "train/dog", count=40)
    folder = read(tmp_path, label="folder")
    assert select.label_names(folder.records, "folder") == ["cat", "dog"]
    assert folder.remarks.read == [
        "the folder train at the top is no class: classes are the folders in it; data.splits: off turns this off"
    ]
    assert sides(tmp_path, held_out=0.3)["held_out"] == ["train/cat", "train/dog"]


def test_a_field_split_of_the_metadata_is_used(tmp_path: Path) -> None:
    rows = [
        {"file_name": f"{n:04d}.png", "split": split}
        for n, split in enumerate(["train"] * 5 + ["test", "validation", "fold_3"])
    ]
    numbered(tmp_path, 8)
    metadata(tmp_path, rows)
    folder = read(tmp_path, held_out=0.0)
    held = [record.path for record in folder.records if select.held_out(record, options(held_out=0.0))]
    assert held == ["0005.png", "0006.png", "0007.png"]
    assert folder.remarks.read == [
        "the field `split` of the metadata is used: train (5) trained on; fold_3 (1), test (1), validation (1) kept "
        "from training and measured on; data.splits: off turns this off"
    ]


def test_a_recipe_that_chooses_by_the_field_is_heeded(tmp_path: Path) -> None:
    """Else its held-out share would be gone."""
    numbered(tmp_path, 60)
    metadata(tmp_path, [{"file_name": f"{n:04d}.png", "split": ["train", "test"][n % 2]} for n in range(60)])
    data = ImageData(options(size=8, where={"split": "train"}, held_out=0.3), tmp_path)
    assert len(data) + len(data.other("held_out")) == 30
    assert len(data.other("held_out")) > 2
    images(tmp_path / "two", "train", "test", count=20)
    data = ImageData(options(size=8, where={"folder": "train"}, held_out=0.3), tmp_path / "two")
    assert len(data) + len(data.other("held_out")) == 20


def test_metadata_in_the_folder_of_each_split(tmp_path: Path) -> None:
    images(tmp_path, "train", "validation")
    for part in ("train", "validation"):
        rows = [{"file_name": f"{n:04d}.png", "text": f"picture {n}"} for n in range(3)]
        metadata(tmp_path / part, rows)
    report = check(tmp_path, options(size=8, text="text"))
    assert (report.captions, report.empty_captions) == (6, 0)
    assert report.split == {"train": 3, "held_out": 3}
    assert report.fields == {"text": 6}


def test_images_beside_the_splits_are_divided_as_ever_and_counted(tmp_path: Path) -> None:
    images(tmp_path, "train", "test", "more", count=40)
    folder = read(tmp_path)
    assert "; 40 other images by data.held_out; " in folder.remarks.read[0]
    assert sides(tmp_path, held_out=0.3) == {"train": ["more", "train"], "held_out": ["more", "test"]}


def test_nothing_left_in_train_is_said(tmp_path: Path) -> None:
    images(tmp_path, "train", "test", count=2)
    metadata(tmp_path, [{"file_name": f"{part}/000{n}.png", "k": part} for part in ("train", "test") for n in range(2)])
    with pytest.raises(UsageError, match="no image is left in the split train"):
        ImageData(options(size=8, where={"k": "test"}), tmp_path)


def test_splits_may_lie_in_the_one_folder_that_holds_all_images(tmp_path: Path) -> None:
    """As detectors have it, images/train and images/val; or a folder around a download."""
    images(tmp_path, "images/train", "images/val")
    assert sides(tmp_path) == {"train": ["images/train"], "held_out": ["images/val"]}
    (line,) = read(tmp_path).remarks.read
    assert line.startswith("the folders in images/ are splits: train (3) trained on; val (3) kept from training")


def test_classes_are_below_splits_that_lie_deeper(tmp_path: Path) -> None:
    images(tmp_path, "set/all/train/cat", "set/all/train/dog", "set/all/test/cat")
    assert select.label_names(read(tmp_path, label="folder").records, "folder") == ["cat", "dog"]
    assert sides(tmp_path)["held_out"] == ["set/all/test/cat"]


def test_splits_beside_another_folder_of_images_are_looked_for_at_the_top_alone(tmp_path: Path) -> None:
    images(tmp_path, "images/train", "images/val", "more")
    assert read(tmp_path).remarks.read == []
