"""Boxes from label files of YOLO's format: NAME.txt beside NAME.jpg, or labels/NAME.txt of images/NAME.jpg."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from latentry import text
from latentry.config import parse_yaml
from latentry.data.files.header import BadImage, Header, shown
from latentry.data.files.images import header
from latentry.data.folders.metadata.annotations.images import Given, Images, around, boxed, tell
from latentry.data.folders.record import Remarks, parts_of
from latentry.data.folders.scan import Scan
from latentry.errors import UsageError

_LOOKED_AT = 50
"""Text files that are opened to tell labels from captions."""
_START = 2**16
_LINE = re.compile(r"\d+(\s+-?[\d.]+(e[+-]?\d+)?){4,}", re.IGNORECASE)
_NAMES = re.compile(r"(classes|obj|_darknet|.*[._-]classes)\.(txt|names|labels)", re.IGNORECASE)
_FAR = 1.5
"""Shares above it are no shares of an image: rounding leaves it by less."""


def files(images: Images, content: Scan) -> list[str]:
    """Text files of numbers alone that belong to images, and those that name the classes."""
    if not content.texts:
        return []
    owned = [(path, _owner(images, path)) for path in content.texts]
    beside = [path for path, owner in owned if owner and parts_of(owner).folder == parts_of(path).folder]
    apart = [path for path, owner in owned if owner and parts_of(owner).folder != parts_of(path).folder]
    labels = [path for group in (beside, apart) if _are_labels(images, group) for path in group]
    return [*labels, *_naming(content)] if labels else []


def read(images: Images, files: Sequence[str], remarks: Remarks) -> Given:
    """The boxes of each image, around the polygons of segmentation too; an empty file is an image without any."""
    given: Given = {}
    astray: dict[str, str] = {}
    owners = {path: _owner(images, path) for path in files}
    by, names, pose = _classes(images, [path for path, image in owners.items() if image is None])
    labels = {path: image for path, image in owners.items() if image is not None}
    for path, image in labels.items():
        try:
            size = header(images.root / image, images.limits)
        except BadImage:
            continue  # is told of with all damaged images
        words = [line.split() for line in text.read(images.root / path, text.LIMIT, shown(path)).splitlines()]
        boxes = [(row[0], _box(row[1:], size, pose)) for row in words if row]
        kept = [(number, box) for number, box in boxes if box is not None]
        if len(kept) < len(boxes):
            astray[path] = "lines that are no class and shares of the image"
        given[image] = boxed([box for _, box in kept], [names.get(number, number) for number, _ in kept])
    classes = f"; classes are named by {shown(by)}" if names else "; classes are numbers"
    tell(list(labels), given, "YOLO", astray, classes, remarks)
    return given


def _owner(images: Images, path: str) -> str | None:
    """The image that a text file labels: beside it, or where its path has `images` in place of `labels`."""
    folder, mark, name = f"/{path}".rpartition("/labels/")
    return images.beside(path) or (images.beside(f"{folder}/images/{name}"[1:]) if mark else None)


def _are_labels(images: Images, paths: Sequence[str]) -> bool:
    """Whether the first of these files have lines of numbers, five or more, and nothing else."""
    lines = []
    for path in paths[:_LOOKED_AT]:
        start = text.start_of(images.root / path, _START, shown(path))
        whole = len(start) < _START  # else the last line is a part of one
        lines += [line.strip() for line in start.decode("ascii", "replace").splitlines()[: 20 if whole else -1]]
    return any(lines) and all(_LINE.fullmatch(line) for line in lines if line)


def _naming(content: Scan) -> list[str]:
    """Files that may name the classes, those nearest to the root first: data.yaml, classes.txt, obj.names."""
    tables = [path for path in content.others if path.lower().endswith((".yaml", ".yml"))]
    lists = [path for path in (*content.texts, *content.others) if _NAMES.fullmatch(parts_of(path).name)]
    return sorted([*tables, *lists], key=lambda path: path.count("/"))[:_LOOKED_AT]


def _classes(images: Images, naming: Sequence[str]) -> tuple[str, dict[str, str], bool]:
    """The first of the files that names classes, their names by their numbers, and whether a line has a box and then
    points (`kpt_shape`)."""
    for path in naming:
        where = shown(path)
        try:
            written = text.read(images.root / path, text.LIMIT, where)
            is_tree = path.lower().endswith((".yaml", ".yml"))
            tree: Mapping[str, Any] = parse_yaml(written, where) if is_tree else {"names": written.splitlines()}
        except UsageError:
            continue  # a YAML file of something else
        names = tree.get("names")
        if isinstance(names, list | dict) and names:
            pairs = names.items() if isinstance(names, dict) else enumerate(names)
            named = {str(number): str(name).strip() for number, name in pairs if str(name).strip()}
            return path, named, "kpt_shape" in tree
    return "", {}, False


def _box(words: Sequence[str], size: Header, pose: bool) -> list[float] | None:
    """The box in pixels of the shares in a line: of centre and size, or of a polygon's points."""
    try:
        shares = [float(word) for word in words]
    except ValueError:
        return None
    if len(shares) < 4 or not all(math.isfinite(share) and -_FAR < share < _FAR for share in shares[:4]):
        return None
    if len(shares) <= 5 or pose:
        x, y, across, down = shares[:4]
        corner_and_size = [x - across / 2, y - down / 2, across, down]
    elif len(shares) % 2 == 0:
        corner_and_size = around(list(zip(shares[0::2], shares[1::2], strict=True)))
    else:
        return None
    if min(corner_and_size[2:]) < 0:
        return None
    return [share * side for share, side in zip(corner_and_size, (size.width, size.height) * 2, strict=True)]
