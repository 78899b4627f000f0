"""Safetensors files of others: the header is checked before the library opens them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry.checkpoints import tensors
from latentry.checkpoints.foreign.names import CUT, Unreadable, printable
from latentry.checkpoints.foreign.storage import MOST_ELEMENTS, counts

LENGTH = 8
LONGEST_HEADER = 100_000_000
METADATA = "__metadata__"
DTYPES = {text: dtype for dtype, text in tensors.DTYPES.items()} | {"C64": torch.complex64}


def read_safetensors(path: Path, *, weights: bool) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, mapped from the file, and the texts of its metadata.

    weights: False gives tensors on `meta`. Raises `Unreadable` when the header does not describe the file.
    """
    header, data = _header(path)
    texts = header.pop(METADATA, {})
    if not isinstance(texts, dict):
        raise Unreadable(f"has a safetensors header whose {METADATA} is not a mapping. Take another copy.")
    metas, spans = {}, []
    for name, entry in header.items():
        metas[name], span = _described(name, entry)
        spans.append((*span, name))
    _check_spans(sorted(spans), data)
    return tensors.read(path) if weights else metas, {str(key): str(value) for key, value in texts.items()}


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes follow it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        if length > min(size - LENGTH, LONGEST_HEADER):
            raise Unreadable(f"has a safetensors header of {length} bytes in a file of {size}; {CUT}")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("has a safetensors header that is not JSON. Take another copy.") from error
    if not isinstance(header, dict):
        raise Unreadable("has a safetensors header that is not a mapping. Take another copy.")
    return header, size - LENGTH - length


def _described(name: str, entry: object) -> tuple[Tensor, tuple[int, int]]:
    """The tensor on `meta` and where its bytes begin and end."""
    shown = printable(name)
    if not isinstance(entry, Mapping) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise Unreadable(f"has a safetensors header that does not describe {shown}. Take another copy.")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        stored_as = (
            printable(str(entry["dtype"])[:40]) if isinstance(entry["dtype"], str) else "a dtype that is not text"
        )
        raise Unreadable(f"holds {shown} as {stored_as}; known: {', '.join(DTYPES)}. Save it as one of these.")
    dtype, shape, offsets = DTYPES[entry["dtype"]], counts(entry["shape"]), counts(entry["data_offsets"])
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize >= MOST_ELEMENTS or len(offsets) != 2:
        raise Unreadable(f"has a safetensors header with an absurd {shown}. Take another copy.")
    start, end = offsets
    need = math.prod(shape) * dtype.itemsize
    if end - start != need:
        raise Unreadable(f"gives {shown} {end - start} bytes; its shape {shape} needs {need}. Take another copy.")
    return torch.empty(shape, dtype=dtype, device="meta"), (start, end)


def _check_spans(spans: list[tuple[int, int, str]], data: int) -> None:
    """The tensors fill the file one after the other."""
    offset = 0
    for start, end, name in spans:
        if start != offset:
            how = "overlaps the one before it" if start < offset else "leaves a hole before it"
            raise Unreadable(f"has a safetensors header where {printable(name)} {how}. Take another copy.")
        offset = end
    if offset != data:
        raise Unreadable(f"has {data} bytes of tensors where its safetensors header describes {offset}; {CUT}")
