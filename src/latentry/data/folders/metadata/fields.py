"""The names by which people call captions and classes, and which of them a folder has."""

from __future__ import annotations

from collections.abc import Sequence

from latentry.data.folders.record import Record, Remarks

TEXT = ("text", "caption", "captions", "prompt", "prompts", "description", "sentence", "sentences", "txt")
"""Fields that hold captions, the usual one first."""
LABEL = ("label", "class", "category", "class_name", "label_name")
"""Fields that hold classes, the usual one first."""
OBJECTS = "objects"
"""The field of boxes, as in imagefolders."""


def add_usual(records: list[Record], wanted: Sequence[str], remarks: Remarks) -> list[Record]:
    """The records with a field `text` or `label`, where it is wanted and they have it under another of its names."""
    have = {name for record in records for name, value in record.fields.items() if value is not None}
    for usual, *others in (TEXT, LABEL):
        by = next((name for name in others if name in have), None)
        if usual in wanted and usual not in have and by is not None:
            remarks.read.append(f"the metadata has no `{usual}`: `{by}` is read as {usual}")
            records = [record._replace(fields={**record.fields, usual: record.fields.get(by)}) for record in records]
    return records
