"""Boxes and captions from annotation files of COCO's format."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from latentry import text
from latentry.data.files.header import shown
from latentry.data.folders.metadata.annotations.images import Given, Images
from latentry.data.folders.record import Remarks, parts_of
from latentry.data.folders.scan import Scan

LIMIT = 4 * 2**30
"""Most bytes of a file; that of COCO 2017's training images has half a GB."""
_BOXES = re.compile(r"(_?annotations?|instances)([._-].*)?\.json|.*[._-]coco\.json|coco([._-].*)?\.json", re.IGNORECASE)
_CAPTIONS = re.compile(r"captions([._-].*)?\.json", re.IGNORECASE)

Row = Mapping[str, Any]


def files_of_boxes(_: Images, content: Scan) -> list[str]:
    """Those called like annotations.json, instances_train2017.json, ..."""
    return [path for path in content.others if _BOXES.fullmatch(parts_of(path).name)]


def files_of_captions(_: Images, content: Scan) -> list[str]:
    """Those called like captions_train2017.json."""
    return [path for path in content.others if _CAPTIONS.fullmatch(parts_of(path).name)]


def read_boxes(images: Images, files: Sequence[str], remarks: Remarks) -> Given:
    """The boxes of each image, none for those that a file names without any."""
    given: Given = {}
    for path in files:
        tree = _tree(images, path, remarks)
        rows, annotations = _rows(tree, "images"), _rows(tree, "annotations")
        if not rows or not any("bbox" in one for one in annotations):
            if tree is not None:
                captions = "; captions are read from captions.json" * any("caption" in one for one in annotations)
                remarks.left.append(f"{shown(path)}, which has no `images` with `annotations` of a `bbox`{captions}")
            continue
        names = {str(one.get("id")): str(one.get("name", one.get("id"))) for one in _rows(tree, "categories")}
        boxes: dict[str, tuple[list[Any], list[str]]] = {str(one.get("id")): ([], []) for one in rows}
        for one in annotations:
            of = boxes.get(str(one.get("image_id")))
            if of is not None and "bbox" in one:
                number = str(one.get("category_id"))
                of[0].append(one["bbox"])
                of[1].append(names.get(number, number))
        count = sum(len(of[0]) for of in boxes.values())
        by_id = {key: {"bbox": of[0], "categories": of[1]} for key, of in boxes.items()}
        _give(images, path, rows, by_id, f"{count} boxes (COCO)", "objects", given, remarks)
    return given


def read_captions(images: Images, files: Sequence[str], remarks: Remarks) -> Given:
    """The captions of each image, a list."""
    given: Given = {}
    for path in files:
        tree = _tree(images, path, remarks)
        rows, annotations = _rows(tree, "images"), _rows(tree, "annotations")
        captions: dict[str, list[str]] = {}
        for one in annotations:
            if isinstance(one.get("caption"), str):
                captions.setdefault(str(one.get("image_id")), []).append(" ".join(one["caption"].split()))
        named = [one for one in rows if str(one.get("id")) in captions]
        if named:
            what = f"{sum(map(len, captions.values()))} captions (COCO)"
            _give(images, path, named, captions, what, "text", given, remarks)
        elif tree is not None:
            remarks.left.append(f"{shown(path)}, which has no `images` with `annotations` of a `caption`")
    return given


def _tree(images: Images, path: str, remarks: Remarks) -> Any:
    """What the file holds; None, and a line, where it is no JSON. Raises `UsageError` for no text."""
    try:
        return json.loads(text.read(images.root / path, LIMIT, shown(str(images.root / path))))
    except (ValueError, RecursionError) as error:
        remarks.left.append(f"{shown(path)}, which is no JSON ({text.one_line(str(error))[:100]})")
        return None


def _rows(tree: Any, key: str) -> list[Row]:
    rows = tree.get(key) if isinstance(tree, Mapping) else None
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _give(
    images: Images, path: str, rows: Sequence[Row], by_id: Mapping[str, Any], what: str, field: str, given: Given,
    remarks: Remarks,
) -> None:  # fmt: skip
    """Put what a file has, by the id of its images, beside the paths of the images that it names."""
    lost, count = [], 0
    for row in rows:
        name = str(row.get("file_name", ""))
        image = images.meant(name, path)
        if image is None:
            lost.append(name)
        else:
            given[image], count = by_id[str(row.get("id"))], count + 1
    line = f"{shown(path)}: {what} of {count} images, as the field `{field}`"
    if lost:
        line += f"; {len(lost)} images that it names are not here (first: {shown(lost[0])})"
    remarks.read.append(line)
