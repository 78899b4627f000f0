"""Boxes from annotation files of COCO's format, given to the images that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from latentry import text
from latentry.data.files.header import shown
from latentry.data.folders.record import Record, Remarks, parts_of

FIELD = "objects"
"""The field that the boxes become, as in imagefolders."""
LIMIT = 4 * 2**30
"""Most bytes of a file; that of COCO 2017's training images has half a GB."""
_NAME = re.compile(r"(_?annotations?|instances)([._-].*)?\.json|.*[._-]coco\.json|coco([._-].*)?\.json", re.IGNORECASE)


class _Annotated(NamedTuple):
    """Of one file: for each of its images its name, and its boxes as `objects` holds them."""

    path: str
    images: list[tuple[str, dict[str, Any]]]


def is_named_so(path: str) -> bool:
    """Whether a file is called like one of annotations: annotations.json, instances_train2017.json, ..."""
    return _NAME.fullmatch(parts_of(path).name) is not None


def add_coco(
    root: Path, records: Sequence[Record], others: Sequence[str], wanted: bool, remarks: Remarks
) -> tuple[list[Record], set[str]]:
    """The records with `objects` from COCO files where they have none, and the files that were read.

    others: files that are no images. wanted: whether boxes take part; else the files are only named. A file names its
    images by their paths from it, or by names that no two of them share below it.
    """
    named = [path for path in others if is_named_so(path)]
    if not named:
        return list(records), set()
    if any(record.fields.get(FIELD) is not None for record in records):
        remarks.left += [f"{shown(path)}, as the metadata has a field `{FIELD}`" for path in named]
        return list(records), set(named)
    if not wanted:
        remarks.left += [f"{shown(path)}, which may hold boxes: data.boxes={FIELD} reads them" for path in named]
        return list(records), set(named)
    boxes: dict[str, dict[str, Any]] = {}
    for path in named:
        found = _read(root, path, remarks)
        if found is not None:
            _give(found, records, boxes, remarks)
    given = [
        record._replace(fields={**record.fields, FIELD: boxes[record.path]}) if record.path in boxes else record
        for record in records
    ]
    return given, set(named)


def _read(root: Path, path: str, remarks: Remarks) -> _Annotated | None:
    """The file's images; None, and a line, for one that is not of this format. Raises `UsageError` for no text."""
    where = shown(path)
    try:
        tree = json.loads(text.read(root / path, LIMIT, shown(str(root / path))))
    except (ValueError, RecursionError) as error:
        remarks.left.append(f"{where}, which is no JSON ({text.one_line(str(error))[:100]})")
        return None
    images, annotations, categories = (_rows(tree, key) for key in ("images", "annotations", "categories"))
    if not images or not any("bbox" in one for one in annotations):
        remarks.left.append(f"{where}, which has no `images` with `annotations` of a `bbox`")
        return None
    names = {str(one.get("id")): str(one.get("name", one.get("id"))) for one in categories}
    by_image: dict[str, dict[str, Any]] = {str(one.get("id")): {"bbox": [], "categories": []} for one in images}
    for one in annotations:
        objects = by_image.get(str(one.get("image_id")))
        if objects is not None and "bbox" in one:
            number = str(one.get("category_id"))
            objects["bbox"].append(one["bbox"])
            objects["categories"].append(names.get(number, number))
    return _Annotated(path, [(str(one.get("file_name", "")), by_image[str(one.get("id"))]) for one in images])


def _rows(tree: Any, key: str) -> list[Mapping[str, Any]]:
    rows = tree.get(key) if isinstance(tree, Mapping) else None
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _give(found: _Annotated, records: Sequence[Record], boxes: dict[str, dict[str, Any]], remarks: Remarks) -> None:
    """Put the boxes of one file beside the paths of the images that it names."""
    folder, stem = parts_of(found.path).folder, parts_of(found.path).stem.rpartition("/")[2]
    paths = {record.path for record in records}
    by_name: dict[str, list[str]] = {}
    for path in sorted(paths):
        by_name.setdefault(parts_of(path).name, []).append(path)
    lost: list[str] = []
    count = 0
    for name, objects in found.images:
        image = _meant(name.replace("\\", "/"), folder, stem, paths, by_name)
        if image is None:
            lost.append(name)
        else:
            boxes[image], count = objects, count + 1
    number = sum(len(objects["bbox"]) for _, objects in found.images)
    line = f"{shown(found.path)}: {number} boxes (COCO) of {count} images, as the field `{FIELD}`"
    if lost:
        line += f"; {len(lost)} images that it names are not here (first: {shown(lost[0])})"
    remarks.read.append(line)


def _meant(name: str, folder: str, stem: str, paths: set[str], by_name: Mapping[str, list[str]]) -> str | None:
    """The image of a name: from the file's folder, from the root, or the only one of that name.

    Of several that below the file's folder, or in the folder that the file is named by (instances_val.json: val/).
    """
    exact = [path for path in (folder + name, name) if path in paths]
    if exact:
        return exact[0]
    near = by_name.get(name.rpartition("/")[2], [])
    for keep in (lambda p: True, lambda p: p.startswith(folder), lambda p: p.split("/")[0] in re.split(r"[._]", stem)):
        kept = [path for path in near if keep(path)]
        if len(kept) == 1:
            return kept[0]
    return None
