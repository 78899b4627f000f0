"""The header of a safetensors file, read and checked before any library opens the file.

The format lets a header have 100 MB, which describe a million tensors and cost gigabytes once they are objects. The
largest files that one network comes in have some thousand tensors and less than 1 MB, so the bounds here are far above
what is published and low enough that a hostile file is refused at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latentry.errors import shown

LENGTH = 8
LONGEST = 4_000_000
"""Bytes of a header."""
MOST_PARTS = 250_000
"""Commas and opening brackets of a header, which bound what can come of it; a tensor of four sides takes 9."""
MOST_TENSORS = 20_000
MOST_DIMENSIONS = 64
MOST_BYTES = 1 << 62
METADATA = "__metadata__"
WIDTHS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"), 1),
}
"""Bytes of an element by the file's own name of its dtype."""
CUT = "the download or copy was probably cut short. Take another copy."


class BadHeader(Exception):
    """A header that does not describe the file. The text says what and what to do, without the path."""


class Entry(NamedTuple):
    """A tensor of the file. start, end: of its bytes, counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class Header(NamedTuple):
    """tensors: by name, in the file's order. texts: its metadata."""

    tensors: dict[str, Entry]
    texts: dict[str, str]


def read(path: Path) -> Header:
    """The header of the file, of which every byte of data belongs to exactly one tensor.

    Takes at most a second and 50 MB, whatever the file says. Raises `BadHeader`, OSError.
    """
    entries, data = _parsed(path)
    texts = entries.pop(METADATA, {})
    if not isinstance(texts, dict):
        raise BadHeader(f"has a safetensors header whose {METADATA} is not a mapping. Take another copy.")
    if len(entries) > MOST_TENSORS:
        raise BadHeader(_too_many(f"describes {len(entries)} tensors", MOST_TENSORS))
    tensors = {name: _described(name, entry) for name, entry in entries.items()}
    _check_spans(tensors, data)
    return Header(tensors, {str(key): str(value) for key, value in texts.items()})


def _too_many(what: str, most: int) -> str:
    return f"has a safetensors header that {what}; accepted: at most {most}. Save the weights of one network alone."


def _parsed(path: Path) -> tuple[dict[str, Any], int]:
    """The header as plain values, and how many bytes follow it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        if length > size - LENGTH:
            raise BadHeader(f"has a safetensors header of {length} bytes in a file of {size}; {CUT}")
        if length > LONGEST:
            raise BadHeader(_too_many(f"is {length} bytes long", LONGEST))
        text = file.read(length)
    parts = sum(map(text.count, (b",", b"{", b"[")))
    if parts > MOST_PARTS:
        raise BadHeader(_too_many(f"has {parts} parts", MOST_PARTS))
    try:
        header = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BadHeader("has a safetensors header that is not JSON. Take another copy.") from error
    if not isinstance(header, dict):
        raise BadHeader("has a safetensors header that is not a mapping. Take another copy.")
    return header, size - LENGTH - length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping in which no name stands twice: JSON would keep the last without a word."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        seen = set[str]()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise BadHeader(f"names {shown(twice)} twice in its safetensors header. Take another copy.")
    return entries


def _described(name: str, entry: object) -> Entry:
    label = shown(name)
    if not isinstance(entry, Mapping) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise BadHeader(f"has a safetensors header that does not describe {label}. Take another copy.")
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in WIDTHS:
        stored_as = shown(dtype, 40) if isinstance(dtype, str) else "a dtype that is not text"
        raise BadHeader(f"holds {label} as {stored_as}; known: {', '.join(WIDTHS)}. Save it as one of these.")
    shape, offsets = _counts(entry["shape"]), _counts(entry["data_offsets"])
    if len(offsets) != 2 or math.prod(max(n, 1) for n in shape) * WIDTHS[dtype] >= MOST_BYTES:
        raise BadHeader(f"has a safetensors header with an absurd {label}. Take another copy.")
    (start, end), need = offsets, math.prod(shape) * WIDTHS[dtype]
    if end - start != need:
        raise BadHeader(f"gives {label} {end - start} bytes; its shape {shape} needs {need}. Take another copy.")
    return Entry(dtype, shape, start, end)


def _counts(value: object) -> tuple[int, ...]:
    if (
        not isinstance(value, list)
        or len(value) > MOST_DIMENSIONS
        or not all(type(n) is int and 0 <= n < MOST_BYTES for n in value)
    ):
        raise BadHeader("is damaged: a tensor's size or place is not a short list of numbers. Take another copy.")
    return tuple(value)


def _check_spans(tensors: Mapping[str, Entry], data: int) -> None:
    """The tensors fill the file one after the other."""
    offset = 0
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end, item[0])):
        if entry.start != offset:
            how = "overlaps the one before it" if entry.start < offset else "leaves a hole before it"
            raise BadHeader(f"has a safetensors header where {shown(name)} {how}. Take another copy.")
        offset = entry.end
    if offset != data:
        raise BadHeader(f"has {data} bytes of tensors where its safetensors header describes {offset}; {CUT}")
