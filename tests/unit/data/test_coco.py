"""If these fail, boxes that lie in a folder take no part, or are given to the wrong images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latentry.data.dataset import ImageData
from latentry.data.folders.check import check
from latentry.data.folders.records import read_folder, real_root
from latentry.errors import UsageError
from tests.unit.data.files import options

CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}]


def draw(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)
    return root


def annotate(path: Path, **boxes: list[tuple[list[Any], int]]) -> None:
    """A file of COCO's format: boxes of each image, by its name without `.png`; ids are not in order."""
    images = [{"id": 90 - i, "file_name": f"{name}.png", "width": 8, "height": 8} for i, name in enumerate(boxes)]
    rows = [
        {"id": 5, "image_id": 90 - i, "bbox": bbox, "category_id": category, "iscrowd": 0}
        for i, of in enumerate(boxes.values())
        for bbox, category in of
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": CATEGORIES}))


def found(root: Path, boxes: str | None = "objects") -> tuple[dict[str, Any], list[str]]:
    folder = read_folder(real_root(root), options(size=8, boxes=boxes))
    return {r.path: r.fields.get("objects") for r in folder.records}, folder.remarks.lines()


@pytest.mark.parametrize(
    "name", ["annotations.json", "instances_train2017.json", "annotations/instances.json", "_annotations.coco.json"]
)
def test_boxes_are_given_to_the_images_that_the_file_names(name: str, tmp_path: Path) -> None:
    draw(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    annotate(tmp_path / name, a=[([0, 1, 2, 3], 7), ([4, 4, 1, 1], 2)], b=[], gone=[])
    objects, told = found(tmp_path)
    assert objects == {
        "images/a.png": {"bbox": [[0, 1, 2, 3], [4, 4, 1, 1]], "categories": ["cat", "dog"]},
        "images/b.png": {"bbox": [], "categories": []},
        "images/c.png": None,
    }
    given = f"{name}: 2 boxes (COCO) of 2 images, as the field `objects`"
    assert told == [f"{given}; 1 images that it names are not here (first: gone.png)"]


def test_of_images_of_one_name_that_of_the_files_split_is_meant(tmp_path: Path) -> None:
    """COCO's own folders: train2017/zero.png and val2017/zero.png are two images."""
    draw(tmp_path, "train2017/zero.png", "val2017/zero.png", "c/zero.png")
    annotate(tmp_path / "annotations" / "instances_train2017.json", zero=[([0, 0, 2, 2], 7)])
    annotate(tmp_path / "annotations" / "instances_val2017.json", zero=[([0, 0, 3, 3], 2)])
    annotate(tmp_path / "c" / "annotations.json", zero=[([0, 0, 4, 4], 7)])
    objects, _ = found(tmp_path)
    assert {path: value["bbox"] for path, value in objects.items()} == {
        "train2017/zero.png": [[0, 0, 2, 2]],
        "val2017/zero.png": [[0, 0, 3, 3]],
        "c/zero.png": [[0, 0, 4, 4]],
    }


def test_a_field_of_the_metadata_goes_before_and_what_is_not_read_is_told(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    annotate(tmp_path / "annotations.json", a=[([0, 0, 2, 2], 7)])
    assert found(tmp_path, None) == (
        {"a.png": None},
        ["not read: annotations.json, which may hold boxes (COCO): data.boxes=objects reads them"],
    )
    own = {"file_name": "a.png", "objects": {"bbox": [[1, 1, 1, 1]], "category": ["own"]}}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(own))
    objects, told = found(tmp_path)
    assert objects["a.png"] == own["objects"]
    assert told == ["not read: annotations.json, as the metadata has a field `objects`"]
    assert check(tmp_path).objects == {"own": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [("[" * 9000, "which is no JSON"), ("[]", "which has no `images`"), ('{"images": [3]}', "which has no `images`")],
)
def test_files_of_another_kind_are_told_and_left(text: str, said: str, tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    (tmp_path / "annotations.json").write_text(text)
    objects, told = found(tmp_path)
    assert objects == {"a.png": None}
    assert said in told[0]


def test_the_check_counts_boxes_by_class(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    annotate(tmp_path / "annotations.json", a=[([0, 0, 2, 2], 7), ([1, 0, 2, 2], 7), ([0, 0, 1, 1], 2)], b=[])
    report = check(tmp_path)
    assert (report.objects, report.boxed) == ({"cat": 2, "dog": 1}, 1)
    annotate(tmp_path / "annotations.json", a=[([0, 0, -2, 2], 7)])
    assert "data.boxes: a.png: objects has the box [0, 0, -2, 2]" in check(tmp_path).problems[0]


def test_boxes_as_two_corners_are_told_of(tmp_path: Path) -> None:
    """VOC's way, [left, top, right, bottom]: read as a size, most such boxes reach beyond their image."""
    draw(tmp_path, "a.png", "b.png")
    annotate(tmp_path / "annotations.json", a=[([4, 4, 8, 8], 7), ([0, 0, 3, 3], 7)], b=[([0, 0, 8, 8], 2)])
    for asked in (options(size=8, boxes="objects"), None):
        (told,) = check(tmp_path, asked).warnings
        assert told.startswith(
            "1 of 3 boxes leave their images and are cut to them (first: a.png: [4, 4, 8, 8] of 8x8)"
        )
    lines: list[str] = []
    ImageData(options(size=8, boxes="objects"), tmp_path, report=lines.append)
    assert f"warning: {told}" in lines
    annotate(tmp_path / "annotations.json", a=[([4, 4, 4.1, 4], 7), ([0, 0, 3, 3], 7)], b=[([-0.1, 0, 8, 8], 2)])
    assert check(tmp_path, options(size=8, boxes="objects")).warnings == []


def test_boxes_in_shares_of_the_image_are_refused(tmp_path: Path) -> None:
    """YOLO's way: as pixels all of them would lie in the upper left one, and train a model of nothing."""
    draw(tmp_path, "a.png", "b.png")
    annotate(tmp_path / "annotations.json", a=[([0.5, 0.25, 0.5, 0.75], 7)], b=[([0, 0, 0.5, 1], 2)])
    (problem,) = check(tmp_path, options(size=8, boxes="objects")).problems
    assert problem.startswith("data.boxes: objects: no number of the 2 boxes is above 1")
    with pytest.raises(UsageError, match="Multiply x and width by"):
        ImageData(options(size=8, boxes="objects"), tmp_path)


def test_where_there_are_no_boxes_it_is_said_how_to_bring_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"as annotations\.json"):
        ImageData(options(size=8, boxes="objects"), draw(tmp_path, "a.png"))
