"""Boxes from annotation files of Pascal VOC's format: NAME.xml of NAME.jpg."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from latentry import text
from latentry.data.files.header import shown
from latentry.data.folders.metadata.annotations.images import Given, Images, boxed, tell
from latentry.data.folders.record import Remarks, parts_of
from latentry.data.folders.scan import Scan


def files(images: Images, content: Scan) -> list[str]:
    """Those that are called as an image is, beside it or elsewhere (Annotations/ beside JPEGImages/)."""
    named = [path for path in content.others if path.lower().endswith(".xml")]
    return [path for path in named if parts_of(path).stem.rpartition("/")[2] in images.by_name]


def read(images: Images, files: Sequence[str], remarks: Remarks) -> Given:
    """The boxes of each image. Pixels are counted from 1 and the last one is inside the box, as VOC has it."""
    given: Given = {}
    astray: dict[str, str] = {}
    for path in files:
        where = shown(str(images.root / path))
        image = images.beside(path) or images.meant(parts_of(path).stem.rpartition("/")[2], path)
        try:
            tree = ElementTree.fromstring(text.read_bytes(images.root / path, text.LIMIT, where))
        except (ElementTree.ParseError, ValueError, LookupError) as error:  # encodings that there are not, too
            astray[path] = f"no XML ({error})"
            continue
        if tree.tag != "annotation" or image is None:
            astray[path] = "no annotation of Pascal VOC" if tree.tag != "annotation" else "several images of its name"
            continue
        things = [(str(thing.findtext("name")), _corners(thing)) for thing in tree.findall("object")]
        if any(corners is None for _, corners in things):
            astray[path] = "an object without a bndbox of four numbers"
        boxes = [(name, corners) for name, corners in things if corners is not None]
        given[image] = boxed([_box(corners) for _, corners in boxes], [name for name, _ in boxes])
    tell(files, given, "Pascal VOC", astray, "", remarks)
    return given


def _corners(thing: ElementTree.Element) -> list[float] | None:
    words = [thing.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    try:
        return [float(word or "") for word in words]
    except ValueError:
        return None


def _box(corners: Sequence[float]) -> list[float]:
    left, top = (max(corner - 1, 0) for corner in corners[:2])
    return [left, top, max(corners[2] - left, 0), max(corners[3] - top, 0)]
