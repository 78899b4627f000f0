"""Boxes and captions from the files of tools for labelling, given to the images that they name."""

from __future__ import annotations

from collections.abc import Collection

from latentry.data.folders.metadata.annotations import coco, labelme, voc, yolo
from latentry.data.folders.metadata.annotations.images import Format, Given, Images, counted
from latentry.data.folders.metadata.fields import OBJECTS, TEXT
from latentry.data.folders.record import Record, Remarks
from latentry.data.folders.scan import Scan

FORMATS = (
    Format("COCO", OBJECTS, "boxes", coco.files_of_boxes, coco.read_boxes),
    Format("COCO", TEXT[0], "captions", coco.files_of_captions, coco.read_captions),
    Format("Pascal VOC", OBJECTS, "boxes", voc.files, voc.read),
    Format("YOLO", OBJECTS, "boxes", yolo.files, yolo.read),
    Format("LabelMe", OBJECTS, "boxes", labelme.files, labelme.read),
)
OPTIONS = {OBJECTS: f"data.boxes={OBJECTS}", TEXT[0]: f"data.text={TEXT[0]}"}
"""What has a field read."""


def add_annotations(
    images: Images, content: Scan, wanted: Collection[str], remarks: Remarks
) -> tuple[list[Record], set[str]]:
    """The records with the fields that annotation files give, and those files.

    wanted: the fields that take part; files of others are only named, and so are those of a field that the metadata
    has. Of several files that give an image the same field the first in the order of `FORMATS` is taken.
    """
    records, files = images.records, set[str]()
    own = {name for record in records for name, value in record.fields.items() if value is not None}
    given: dict[str, Given] = {}
    for kind in FORMATS:
        named = kind.files(images, content)
        files.update(named)
        if not named:
            continue
        if kind.field in own:
            remarks.left.append(f"{counted(named)}, as the metadata has a field `{kind.field}`")
        elif kind.field not in wanted:
            remarks.left.append(
                f"{counted(named)}, which may hold {kind.holds} ({kind.name}): {OPTIONS[kind.field]} reads them"
            )
        else:
            given[kind.field] = kind.read(images, named, remarks) | given.get(kind.field, {})
    return [_with(record, given) for record in records] if given else list(records), files


def _with(record: Record, given: dict[str, Given]) -> Record:
    """The record with what it is given, by field."""
    told = {field: values[record.path] for field, values in given.items() if record.path in values}
    return record._replace(fields={**record.fields, **told}) if told else record
