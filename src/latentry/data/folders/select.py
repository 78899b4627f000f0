"""Which images take part, in which split, under which label."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from latentry import text
from latentry.data.files.header import shown
from latentry.data.files.images import stack_file
from latentry.data.folders.metadata.captions import LONGEST
from latentry.data.folders.record import Record
from latentry.data.folders.records import known_fields
from latentry.data.folders.splits import is_train
from latentry.data.options import DataOptions
from latentry.errors import UsageError, did_you_mean
from latentry.text import one_line, printable

Split = Literal["train", "held_out"]
FOLDER = "folder"
ANY = "*"
"""In `where`: images that have any value of the field."""
ANNOTATIONS = " Name the one with boxes, or put a file of COCO's format into the folder as annotations.json."


def value_of(record: Record, field: str) -> Any:
    """A metadata field of an image (None if absent); `folder` is the first subfolder on its path that is no split."""
    if field == FOLDER and field not in record.fields:
        path = record.path.removeprefix(record.above)
        return path.split("/", 1)[0] if "/" in path else None
    return record.fields.get(field)


def require_fields(records: Sequence[Record], options: DataOptions) -> None:
    """Raise a `UsageError` for a field that no image has."""
    existing = known_fields(list(records))
    keys = ("text", "label", "boxes", "semantic", "mask", "balance", "split_by")
    named = [(key, getattr(options, key)) for key in keys if getattr(options, key)]
    named += [("arrays", field) for field in options.arrays] + [("where", field) for field in options.where]
    for key, field in named:
        if field not in existing and not (field == FOLDER and any(value_of(r, FOLDER) is not None for r in records)):
            have = ", ".join(map(one_line, existing)) or "none (there is no metadata, and no NAME.txt beside an image)"
            further = ANNOTATIONS if key == "boxes" else ""
            raise UsageError(
                f'data.{key}: no image has a field "{field}"; fields: {have}{did_you_mean(field, existing)}.{further}'
            )


def selected(records: Sequence[Record], options: DataOptions) -> list[Record]:
    """The records that `where` keeps. Numbers also match their text. Raises `UsageError` if none is left."""
    kept = list(records)
    for field in options.where:
        accepted = {_key(v) for v in options.listed(field)}
        left = [r for r in kept if _key(value_of(r, field)) in accepted or (ANY in accepted and value_of(r, field))]
        if not left:
            values = sorted({one_line(str(value_of(r, field))) for r in kept})
            present = ", ".join(values[:10]) + (", ..." if len(values) > 10 else "")
            raise UsageError(f"data.where.{field}: no image has {options.where[field]!r}; values found: {present}.")
        kept = left
    return kept


def _key(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else name_of(value)


def held_out(record: Record, options: DataOptions) -> bool:
    """Whether an image is kept from training: as its folder says, else by a hash of its file, or of its group."""
    if record.split:
        return not is_train(record.split)
    group = value_of(record, options.split_by) if options.split_by else None
    key = os.fsencode(stack_file(record.path)) if group is None else _bytes(f"group:{group}")
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
    return number < options.held_out * 2**64


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return printable(text).encode()


def split(records: Sequence[Record], options: DataOptions, which: Split) -> list[Record]:
    """The images of one split. Raises `UsageError` if training is left without any."""
    chosen = [r for r in records if held_out(r, options) == (which == "held_out")]
    if which == "train" and not chosen and all(r.split for r in records):
        raise UsageError("data.splits: no image is left in the split train; set data.splits: off, or add images to it.")
    if which == "train" and not chosen:
        raise UsageError(f"data.held_out: all {len(records)} images are held out; lower it or add images.")
    return chosen


def are_classes(records: Sequence[Record], field: str) -> bool:
    """Whether every image has this field, and its values are several but not one an image."""
    values = [value_of(record, field) for record in records]
    return None not in values and 1 < len(set(map(str, values))) <= max(2, len(records) // 2)


def label_names(records: Sequence[Record], field: str | None) -> list[str]:
    """All labels in order (numbers by size). Raises `UsageError` naming images without one."""
    if field is None:
        return []
    values = [value_of(r, field) for r in records]
    without = [r.path for r, v in zip(records, values, strict=True) if v is None]
    if without:
        first = ", ".join(shown(p) for p in without[:5])
        raise UsageError(f"data.label: {len(without)} images have no {field}: {first}. Label them or leave them out.")
    return in_order(map(name_of, values))


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once, in order; numbers by size, before words."""
    return sorted(set(names), key=_order)


def name_of(value: Any) -> str:
    """A label as text that every file can hold: a folder's name need not be UTF-8."""
    return printable(str(value))


def _order(name: str) -> tuple[int, float, str]:
    value = text.number(name)
    return (1, 0, name) if value is None else (0, value, name)


def label_numbers(records: Sequence[Record], field: str | None, names: Sequence[str]) -> list[int]:
    """The label of each record as its index in `names`; 0 for all where there are no labels."""
    numbers = {name: number for number, name in enumerate(names)}
    return [numbers[name_of(value_of(r, field))] if field else 0 for r in records]


def captions_of(record: Record, field: str | None) -> list[str]:
    """The captions of an image: a field may hold one text or a list of them; missing is one empty text."""
    value = value_of(record, field) if field else None
    values = value if isinstance(value, list) else [value]
    return [printable(str(v)[:LONGEST]) for v in values if v is not None] or [""]


def long_captions(records: Sequence[Record], field: str | None) -> list[str]:
    """A line for a person if there are captions of which only the start is read."""
    values = [value_of(record, field) for record in records] if field else []
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    long = sum(isinstance(text, str) and len(text) > LONGEST for text in texts)
    return [f"of {long} captions only the first {LONGEST} characters are read"] if long else []
