"""torch's format before 1.6: five pickles in a row, then each storage as its length and its bytes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from latentry.checkpoints.foreign.names import ACCEPTED, CUT, Damaged, Dropped, Unreadable, printable
from latentry.checkpoints.foreign.objects import StorageType
from latentry.checkpoints.foreign.storage import Mapped, Stored, is_count
from latentry.checkpoints.foreign.unpickle import unpickle

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
LENGTH = 8


@dataclass(frozen=True)
class _Declared:
    """What the pickle says of a storage before its bytes come. width: bytes of an element."""

    width: int
    elements: int


def read_legacy(path: Path, *, weights: bool) -> tuple[Any, dict[str, None]]:
    """The object that the fourth pickle describes, and the names of the classes dropped from it.

    weights: tensors are views on the mapped file, or copies where the file has them unaligned; otherwise they are on
    `meta`. The pickle is read twice, as it stands before the storages it needs. Raises `Unreadable`.
    """
    file = Mapped(path)
    stream = cast(IO[bytes], file.map)
    _check_opening(stream)
    start = stream.tell()
    declared: dict[str, _Declared] = {}
    dropped: dict[str, None] = {}
    root = unpickle(stream, _Storages(declared, None, {}).named, dropped)
    starts = _starts(file, stream, declared)
    if weights:
        stream.seek(start)
        root = unpickle(stream, _Storages(declared, file, starts).named, dropped)
    return root, dropped


def _no_storage(_: object) -> object:
    raise Unreadable("is damaged: it refers to a storage before its weights. Take another copy.")


def _check_opening(stream: IO[bytes]) -> None:
    """Magic number, protocol and the machine that wrote the file."""
    try:
        magic = unpickle(stream, _no_storage, {})
    except Damaged as error:
        raise Unreadable(
            f"is neither a zip file nor a pickle nor safetensors; {ACCEPTED}. Take another file."
        ) from error
    if type(magic) is not int or magic != MAGIC:
        raise Unreadable(
            "is a pickle that torch.save did not write. Load it where it was made; torch.save its weights."
        )
    protocol, machine = unpickle(stream, _no_storage, {}), unpickle(stream, _no_storage, {})
    if type(protocol) is not int or protocol != PROTOCOL or not isinstance(machine, dict):
        raise Unreadable(f"is damaged: its opening is not that of protocol {PROTOCOL}. Take another copy.")
    if machine.get("little_endian", True) is not (sys.byteorder == "little"):
        raise Unreadable(
            f"was written in another byte order; accepted: {sys.byteorder}. Save it again on such a machine."
        )


def _starts(file: Mapped, stream: IO[bytes], declared: Mapping[str, _Declared]) -> dict[str, int]:
    """Where the bytes of each storage begin. Raises `Unreadable` unless all are there, with the lengths declared."""
    keys = unpickle(stream, _no_storage, {})
    if not isinstance(keys, list) or {key for key in keys if isinstance(key, str)} != declared.keys():
        raise Unreadable(f"lists other storages than its tensors need; {CUT}")
    starts, offset = {}, stream.tell()
    for key in keys:
        here = declared[key]
        elements = int.from_bytes(file.map[offset : offset + LENGTH], "little")
        starts[key] = offset + LENGTH
        offset += LENGTH + here.elements * here.width
        if offset > file.size:
            raise Unreadable(f"ends {offset - file.size} bytes too early or more; {CUT}")
        if elements != here.elements:
            raise Unreadable(
                f"is damaged: storage {printable(key)} has {elements} elements instead of {here.elements}. "
                "Take another copy."
            )
    return starts


class _Storages:
    """The storages by key. file: None while only their lengths are collected."""

    def __init__(self, declared: dict[str, _Declared], file: Mapped | None, starts: Mapping[str, int]) -> None:
        self.declared = declared
        self.file = file
        self.starts = starts
        self.mapped: dict[str, Stored] = {}

    def named(self, identity: Any) -> object:
        """The storage of a persistent id: ("storage", type, key, device, elements, part), or ("module", class, ...)."""
        if not isinstance(identity, tuple) or not identity:
            raise Damaged("is damaged: it refers to something that is not a storage. Take another copy.")
        if identity[0] == "module" and isinstance(identity[1], Dropped):
            return identity[1]
        kind, storage_type, key, _, elements, part = identity
        if isinstance(storage_type, Dropped):
            return storage_type
        if kind != "storage" or not isinstance(storage_type, StorageType) or not isinstance(key, str):
            raise Unreadable("is damaged: it refers to something that is not a storage. Take another copy.")
        width = storage_type.dtype.itemsize if storage_type.dtype else 1
        here = _Declared(width, elements)
        if not is_count(elements) or self.declared.setdefault(key, here) != here:
            raise Unreadable(f"is damaged: storage {printable(key)} has two lengths. Take another copy.")
        if key not in self.mapped:
            data = self.file.part(self.starts[key], elements * width, width) if self.file else None
            self.mapped[key] = Stored(storage_type.dtype, elements * width, data)
        return self.mapped[key] if part is None else _part(self.mapped[key], width, part)


def _part(whole: Stored, width: int, part: Any) -> Stored:
    """A stretch of a storage, as files before torch 0.4 have it: (key, first element, elements)."""
    _, first, elements = part if isinstance(part, tuple) else ()
    if not is_count(first) or not is_count(elements) or (first + elements) * width > whole.nbytes:
        raise Unreadable("is damaged: a part of a storage lies outside it. Take another copy.")
    stretch = slice(first * width, (first + elements) * width)
    return Stored(whole.dtype, elements * width, None if whole.data is None else whole.data[stretch])
