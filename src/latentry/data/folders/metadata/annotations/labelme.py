"""Boxes from annotation files of LabelMe's format: NAME.json beside NAME.jpg."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from latentry import text
from latentry.data.files.header import shown
from latentry.data.folders.metadata.annotations.images import Given, Images, around, boxed, tell
from latentry.data.folders.record import Remarks
from latentry.data.folders.scan import Scan

_LOOKED_AT = 5
"""Files whose first bytes are read to tell LabelMe's from others beside images."""
_START = 4096


def files(images: Images, content: Scan) -> list[str]:
    """All of the JSON files beside images, where the first of them have `shapes`."""
    beside = [path for path in content.others if path.lower().endswith(".json") and images.beside(path)]
    starts = [text.start_of(images.root / path, _START, shown(path)) for path in beside[:_LOOKED_AT]]
    return beside if any(b'"shapes"' in start for start in starts) else []


def read(images: Images, files: Sequence[str], remarks: Remarks) -> Given:
    """The boxes of each image, around polygons and circles too; lines and points have none."""
    given: Given = {}
    astray: dict[str, str] = {}
    for path in files:
        where, image = shown(str(images.root / path)), images.beside(path)
        try:
            tree = json.loads(text.read(images.root / path, text.LIMIT, where))
        except (ValueError, RecursionError):
            tree = None
        shapes = tree.get("shapes") if isinstance(tree, Mapping) else None
        if not isinstance(shapes, list) or image is None:
            astray[path] = "no `shapes`"
            continue
        boxes = [(str(shape.get("label")), _box(shape)) for shape in shapes if isinstance(shape, Mapping)]
        kept = [(name, box) for name, box in boxes if box is not None]
        if len(kept) < len(shapes):
            astray[path] = "shapes that are no rectangles, polygons or circles"
        given[image] = boxed([box for _, box in kept], [name for name, _ in kept])
    tell(files, given, "LabelMe", astray, "", remarks)
    return given


def _box(shape: Mapping[str, Any]) -> list[float] | None:
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError):
        return None
    kind = shape.get("shape_type", "polygon")
    if kind == "circle" and len(points) == 2:
        (x, y), (other_x, other_y) = points
        radius = ((other_x - x) ** 2 + (other_y - y) ** 2) ** 0.5
        return [x - radius, y - radius, 2 * radius, 2 * radius]
    return around(points) if kind in ("polygon", "rectangle", "rotation") and len(points) > 1 else None
