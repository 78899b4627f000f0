"""Boxes and captions from annotation files of COCO's format."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from latentry import text
from latentry.data.files.header import shown
from latentry.data.folders.metadata.annotations.images import Given, Images
from latentry.data.folders.metadata.fields import OBJECTS, TEXT
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
        boxes: dict[str, dict[str, list[Any]]] = {str(one.get("id")): {"bbox": [], "categories": []} for one in rows}
        for one in annotations:
            of = boxes.get(str(one.get("image_id")))
            if of is not None and "bbox" in one:
                number = str(one.get("category_id"))
                of["bbox"].append(one["bbox"])
                of["categories"].append(names.get(number, number))
        found, lost = _of_images(images, path, rows, boxes)
        count = sum(len(of["bbox"]) for of in boxes.values())
        remarks.read.append(
            f"{shown(path)}: {count} boxes (COCO) of {len(found)} images, as the field `{OBJECTS}`{lost}"
        )
        given |= found
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
            found, lost = _of_images(images, path, named, captions)
            count = sum(map(len, captions.values()))
            remarks.read.append(
                f"{shown(path)}: {count} captions (COCO) of {len(found)} images, as the field `{TEXT[0]}`{lost}"
            )
            given |= found
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


def _of_images(images: Images, path: str, rows: Sequence[Row], by_id: Mapping[str, Any]) -> tuple[Given, str]:
    """What a file has, by the id of its images, beside the paths of the images that it names; and a word on others."""
    given: Given = {}
    lost = []
    for row in rows:
        name = str(row.get("file_name", ""))
        image = images.meant(name, path)
        if image is None:
            lost.append(name)
        else:
            given[image] = by_id[str(row.get("id"))]
    gone = f"; {len(lost)} images that it names are not here (first: {shown(lost[0])})" if lost else ""
    return given, gone
