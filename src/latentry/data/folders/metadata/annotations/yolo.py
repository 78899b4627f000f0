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
_START = 4096
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
    naming = [path for path in files if _owner(images, path) is None]
    names, pose = _classes(images, naming)
    labels = [path for path in files if path not in naming]
    for path in labels:
        image = str(_owner(images, path))
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
    classes = f"; classes are named by {shown(naming[0])}" if names else "; classes are numbers"
    tell(labels, given, "YOLO", astray, classes, remarks)
    return given


def _owner(images: Images, path: str) -> str | None:
    """The image that a text file labels: beside it, or where its path has `images` in place of `labels`."""
    folder, mark, name = f"/{path}".rpartition("/labels/")
    return images.beside(path) or (images.beside(f"{folder}/images/{name}"[1:]) if mark else None)


def _are_labels(images: Images, paths: Sequence[str]) -> bool:
    """Whether the first of these files have lines of numbers, five or more, and nothing else."""
    starts = (text.start_of(images.root / path, _START, shown(path)) for path in paths[:_LOOKED_AT])
    lines = [line.strip() for start in starts for line in start.decode("ascii", "replace").splitlines()[:20]]
    return any(lines) and all(_LINE.fullmatch(line) for line in lines if line)


def _naming(content: Scan) -> list[str]:
    """Files that may name the classes, those nearest to the root first: data.yaml, classes.txt, obj.names."""
    tables = [path for path in content.others if path.lower().endswith((".yaml", ".yml"))]
    lists = [path for path in (*content.texts, *content.others) if _NAMES.fullmatch(parts_of(path).name)]
    return sorted([*tables, *lists], key=lambda path: path.count("/"))[:_LOOKED_AT]


def _classes(images: Images, naming: list[str]) -> tuple[dict[str, str], bool]:
    """The names of the classes by their numbers, and whether a line has a box and then points (`kpt_shape`).

    naming: files that may have them; left in it is that which has.
    """
    for path in list(naming):
        where = shown(path)
        written = text.read(images.root / path, text.LIMIT, where)
        tree: Mapping[str, Any] = {"names": written.splitlines()}
        if path.lower().endswith((".yaml", ".yml")):
            try:
                tree = parse_yaml(written, where)
            except UsageError:
                tree = {}
        names = tree.get("names")
        if isinstance(names, list | dict) and names:
            naming[:] = [path]
            pairs = names.items() if isinstance(names, dict) else enumerate(names)
            return {str(number): str(name).strip() for number, name in pairs if str(name).strip()}, "kpt_shape" in tree
    return {}, False


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
