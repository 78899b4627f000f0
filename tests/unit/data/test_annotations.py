"""If these fail, boxes and captions of tools for labelling take no part, or come to other pixels or other images."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentry.data.dataset import ImageData
from latentry.data.folders.check import check
from latentry.data.folders.records import Folder, read_folder, real_root
from tests.unit.data.files import options

WIDTH, HEIGHT = 80, 64
CLASSES = ("cat", "dog")
BOXES: dict[str, list[tuple[int, list[float]]]] = {
    "a": [(1, [10, 20, 30, 8]), (0, [0, 0, WIDTH, HEIGHT])],
    "b": [(0, [79, 63, 1, 1])],
    "c": [],
}
"""Of each image, in pixels [x, y, width, height], with the number of its class: the truth that every format writes."""


def draw(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def as_voc(root: Path) -> None:
    """As the development kit has it: pixels from 1, the last one inside."""
    for name, rows in BOXES.items():
        draw(root, f"JPEGImages/{name}.png")
        part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
        objects = "".join(
            f"<object><name>{CLASSES[k]}</name>{part}<bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            for k, (x, y, w, h) in rows
        )
        start = '<?xml version="1.0" encoding="UTF-8"?>'
        write(root / f"Annotations/{name}.xml", f"{start}<annotation><filename>other</filename>{objects}</annotation>")


def yolo_lines(rows: Sequence[tuple[int, list[float]]], polygons: bool = False) -> str:
    lines = []
    for k, (x, y, w, h) in rows:
        shares = [(x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT]
        if polygons:
            left, top, right, bottom = x / WIDTH, y / HEIGHT, (x + w) / WIDTH, (y + h) / HEIGHT
            shares = [left, top, right, top, (left + right) / 2, bottom]
        lines.append(" ".join([str(k), *(f"{share:.17g}" for share in shares)]))
    return "\n".join(lines)


def as_yolo(root: Path) -> None:
    for name, rows in BOXES.items():
        draw(root, f"train/images/{name}.png")
        write(root / f"train/labels/{name}.txt", yolo_lines(rows))
    write(root / "data.yaml", "train: ../train/images\nnc: 2\nnames: ['cat', 'dog']\n")


def as_yolo_beside(root: Path) -> None:
    for name, rows in BOXES.items():
        draw(root, f"{name}.png")
        write(root / f"{name}.txt", yolo_lines(rows, polygons=True))
    write(root / "classes.txt", "cat\ndog\n")


def as_labelme(root: Path) -> None:
    for name, rows in BOXES.items():
        draw(root, f"{name}.png")
        kinds = ("rectangle", "polygon")
        shapes = [
            {"label": CLASSES[k], "points": [[x + w, y], [x, y + h]], "shape_type": kinds[number % 2]}
            for number, (k, (x, y, w, h)) in enumerate(rows)
        ]
        write(
            root / f"{name}.json", json.dumps({"version": "5.0.1", "shapes": shapes, "imagePath": "x", "z": "y" * 9000})
        )


def as_coco(root: Path) -> None:
    draw(root, *(f"{name}.png" for name in BOXES))
    rows = [{"image_id": name, "category_id": k, "bbox": box} for name, boxes in BOXES.items() for k, box in boxes]
    images = [{"id": name, "file_name": f"{name}.png"} for name in BOXES]
    names = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    write(root / "annotations.json", json.dumps({"images": images, "annotations": rows, "categories": names}))


WAYS = {"VOC": as_voc, "YOLO": as_yolo, "YOLO beside": as_yolo_beside, "LabelMe": as_labelme, "COCO": as_coco}


def read(root: Path, **settings: Any) -> Folder:
    return read_folder(real_root(root), options(size=8, **{"boxes": "objects", "splits": "off", **settings}))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_format_gives_the_boxes_that_were_written(way: Callable[[Path], None], tmp_path: Path) -> None:
    way(tmp_path)
    folder = read(tmp_path)
    found = {Path(r.path).stem: r.fields["objects"] for r in folder.records}
    for name, rows in BOXES.items():
        assert found[name]["categories"] == [CLASSES[k] for k, _ in rows]
        np.testing.assert_allclose(
            np.reshape(found[name]["bbox"], (-1, 4)), np.reshape([box for _, box in rows], (-1, 4)), atol=1e-9
        )
    (line,) = folder.remarks.lines()
    assert "3 boxes (" in line
    assert "of 3 images, as the field `objects`" in line
    assert check(tmp_path, options(size=8, boxes="objects", splits="off")).objects == {"cat": 2, "dog": 1}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_boxes_that_no_recipe_asks_for_are_told_and_metadata_goes_before(
    way: Callable[[Path], None], tmp_path: Path
) -> None:
    way(tmp_path)
    folder = read(tmp_path, boxes=None)
    assert all("objects" not in record.fields for record in folder.records)
    (line,) = folder.remarks.left
    assert "which may hold boxes (" in line
    assert "data.boxes=objects reads them" in line
    rows = [{"file_name": r.path, "objects": {"bbox": [[1, 1, 2, 2]], "categories": ["own"]}} for r in folder.records]
    write(tmp_path / "metadata.jsonl", "\n".join(json.dumps(row) for row in rows))
    folder = read(tmp_path)
    assert {record.fields["objects"]["categories"][0] for record in folder.records} == {"own"}
    assert "as the metadata has a field `objects`" in folder.remarks.left[0]


def test_a_sample_has_the_boxes_of_its_label_file_whose_image_lies_on_its_side(tmp_path: Path) -> None:
    """YOLO's shares are of the image as it is seen: a camera's file is stored in one way and turned by its EXIF."""
    turned = Image.Exif()
    turned[274] = 6
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 80)).save(tmp_path / "images/a.jpg", exif=turned)
    write(tmp_path / "labels/a.txt", "0 0.25 0.5 0.5 1.0")
    data = ImageData(options(size=[40, 80], boxes="objects", held_out=0), tmp_path)
    boxes = data.load(data.pick(0)).boxes
    assert boxes is not None
    np.testing.assert_allclose(boxes.corners, [[0, 0, 0.5, 1]], atol=1e-6)
    assert boxes.names == ("0",)


def test_labels_leave_captions_beside_the_images_alone(tmp_path: Path) -> None:
    as_yolo(tmp_path)
    for name in BOXES:
        write(tmp_path / f"train/images/{name}.txt", f"a picture of {name}")
    folder = read(tmp_path, text="auto")
    assert [record.fields["text"] for record in folder.records] == [f"a picture of {name}" for name in BOXES]
    assert [len(record.fields["objects"]["bbox"]) for record in folder.records] == [2, 1, 0]


def test_files_of_other_things_name_no_classes(tmp_path: Path) -> None:
    as_yolo(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"name: caf\xe9")
    write(tmp_path / "b.yaml", "lr: [1")
    write(tmp_path / "c.yaml", "names: {}")
    (line,) = read(tmp_path).remarks.lines()
    assert line.startswith("3 files (first: train/labels/a.txt): 3 boxes (YOLO) of 3 images")
    assert line.endswith("classes are named by data.yaml")


def test_a_polygon_of_thousands_of_points_is_one_line_of_a_label_file(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    points = np.random.default_rng(0).uniform(0.25, 0.75, (5000, 2))
    points[0], points[1] = (0.25, 0.5), (0.75, 0.75)
    write(tmp_path / "a.txt", "0 0.5 0.5 1 1\n1 " + " ".join(f"{share:.6f}" for share in points.ravel()))
    (record,) = read(tmp_path).records
    whole, around = record.fields["objects"]["bbox"]
    assert whole == [0, 0, WIDTH, HEIGHT]
    np.testing.assert_allclose(around, [20, 16, 40, 32], atol=0.1)


def test_numbers_in_captions_do_not_make_them_labels(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    write(tmp_path / "a.txt", "0 0.5 0.5 0.2 0.2")
    write(tmp_path / "b.txt", "5 6 7 8 9 little ducks")
    folder = read(tmp_path, text="auto")
    assert [record.fields["text"] for record in folder.records] == ["0 0.5 0.5 0.2 0.2", "5 6 7 8 9 little ducks"]


def test_of_images_of_one_name_that_of_the_files_split_is_meant(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val"), 1):
        draw(tmp_path, f"{split}/JPEGImages/a.png")
        box = f"<xmin>1</xmin><ymin>1</ymin><xmax>{number}</xmax><ymax>{number}</ymax>"
        thing = f"<object><name>cat</name><bndbox>{box}</bndbox></object>"
        write(tmp_path / split / "Annotations/a.xml", f"<annotation>{thing}</annotation>")
    boxes = {record.path: record.fields["objects"]["bbox"] for record in read(tmp_path).records}
    assert boxes == {"train/JPEGImages/a.png": [[0, 0, 1, 1]], "val/JPEGImages/a.png": [[0, 0, 2, 2]]}


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "UTF-8", "UTF-16", "GBK"])
def test_names_are_in_the_encoding_that_the_xml_declares(encoding: str, tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
    name = "\u732b" if encoding == "GBK" else "caf\u00e9"
    tree = (
        f'<?xml version="1.0" encoding="{encoding}"?><annotation><object><name>{name}</name>{box}</object></annotation>'
    )
    (tmp_path / "a.xml").write_bytes(tree.encode(encoding))
    folder = read(tmp_path)
    if encoding == "GBK":  # of several bytes a letter, which the parser does not know
        assert "of which none is read as Pascal VOC" in folder.remarks.left[0]
    else:
        assert folder.records[0].fields["objects"]["categories"] == [name]


def test_points_behind_a_box_are_no_polygon_where_the_classes_say_so(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    write(tmp_path / "a.txt", "0 0.5 0.5 0.25 0.5 0.1 0.1 0.9 0.9")
    (record,) = read(tmp_path).records
    assert record.fields["objects"]["bbox"] == [[0.1 * WIDTH, 0.1 * HEIGHT, 0.8 * WIDTH, 0.8 * HEIGHT]]
    write(tmp_path / "pose.yaml", "kpt_shape: [2, 2]\nnames: {0: hand}\n")
    (record,) = read(tmp_path).records
    assert record.fields["objects"] == {"bbox": [[30.0, 16.0, 20.0, 32.0]], "categories": ["hand"]}


def test_captions_of_coco_are_read_all_of_an_image(tmp_path: Path) -> None:
    draw(tmp_path, "train2017/a.png", "train2017/b.png")
    tree = {
        "images": [{"id": 3, "file_name": "a.png"}, {"id": 4, "file_name": "gone.png"}],
        "annotations": [{"image_id": 3, "caption": "a cat \n sits"}, {"image_id": 3, "caption": "one cat"},
                        {"image_id": 4, "caption": "none"}],
    }  # fmt: skip
    write(tmp_path / "annotations/captions_train2017.json", json.dumps(tree))
    folder = read(tmp_path, text="auto")
    assert [record.fields.get("text") for record in folder.records] == [["a cat sits", "one cat"], None]
    assert folder.remarks.read == [
        "annotations/captions_train2017.json: 3 captions (COCO) of 1 images, as the field `text`; "
        "1 images that it names are not here (first: gone.png)"
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.xml", "<annotation><object>", "of which none is read as Pascal VOC (first: a.xml: no XML ("),
        ("a.xml", '<?xml version="1.0" encoding="none"?><annotation/>', "a.xml: no XML ("),
        ("a.xml", "<CVAT/>", "of which none is read as Pascal VOC (first: a.xml: no annotation of Pascal VOC)"),
        ("a.xml", "<annotation><object><name>x</name></object></annotation>", "an object without a bndbox of four"),
        ("a.json", '{"shapes": 3}', "of which none is read as LabelMe (first: a.json: no `shapes`)"),
        ("a.json", '{"shapes": [{"label": "x", "points": [[1, 2]]}]}', "shapes that are no rectangles"),
        ("a.txt", "0 0.5 0.5 0.2 0.2\n1 40 30 20 10", "lines that are no class and shares of the image"),
        ("a.txt", "0 0.5 0.5 -0.2 0.2\n1 0.4 0.3 0.2 0.1", "lines that are no class and shares of the image"),
    ],
)
def test_what_cannot_be_read_of_a_file_is_told(name: str, text: str, said: str, tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    write(tmp_path / name, text)
    assert said in " ".join(read(tmp_path).remarks.lines())


def test_entities_of_an_xml_file_are_not_followed_without_end(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    levels = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
    write(tmp_path / "a.xml", f'<!DOCTYPE x [<!ENTITY e0 "ha">{levels}]><annotation>&e9;</annotation>')
    assert "of which none is read as Pascal VOC" in read(tmp_path).remarks.left[0]
