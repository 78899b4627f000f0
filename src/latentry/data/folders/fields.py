"""The names by which people call captions and classes, and which of them a folder has."""

from __future__ import annotations

from collections.abc import Sequence

from latentry.data.folders.record import Record

TEXT = ("text", "caption", "captions", "prompt", "prompts", "description", "sentence", "sentences", "txt")
"""Fields that hold captions, the usual one first."""
LABEL = ("label", "class", "category", "class_name", "label_name")
"""Fields that hold classes, the usual one first."""


def meant(field: str | None, names: Sequence[str], records: Sequence[Record]) -> str | None:
    """`field`, or where no image has it and it is one of `names`, the first of these that one has."""
    if field not in names:
        return field
    have = {name for record in records for name, value in record.fields.items() if value is not None}
    return field if field in have else next((name for name in names if name in have), field)
