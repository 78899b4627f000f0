"""torch's zip format: `NAME/data.pkl` and one uncompressed member `NAME/data/KEY` for each storage."""

from __future__ import annotations

import io
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from latentry.checkpoints.foreign.names import CUT, Dropped, Unreadable, printable
from latentry.checkpoints.foreign.objects import StorageType
from latentry.checkpoints.foreign.storage import Mapped, Stored, is_count
from latentry.checkpoints.foreign.unpickle import unpickle

PICKLE = "data.pkl"
LONGEST_PICKLE = 1 << 28
LONGEST_CONTENTS = 2_000_000
"""Bytes of the list of contents, which is 20,000 storages as torch lists them, and of which all is read at once."""
LOCAL_HEADER = 30
BAD_ZIP = (
    zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, ValueError, OverflowError, EOFError, IndexError,
    KeyError, OSError,
)  # fmt: skip


def read_zip(path: Path, *, weights: bool) -> tuple[Any, dict[str, None]]:
    """The object that `data.pkl` describes, and the names of the classes dropped from it.

    weights: tensors are views on the mapped file; otherwise they are on `meta`. No other pickle in the archive is
    opened. Raises `Unreadable`.
    """
    archive = _Archive(path)
    archive.check_byte_order()
    storages = _Storages(archive, weights)
    dropped: dict[str, None] = {}
    root = unpickle(io.BytesIO(archive.content(archive.prefix + PICKLE, LONGEST_PICKLE)), storages.named, dropped)
    return root, dropped


class _Archive:
    """Where each member's bytes lie in the mapped file."""

    def __init__(self, path: Path) -> None:
        try:
            with _Listing(path) as listing, zipfile.ZipFile(listing) as archive:
                members = archive.infolist()
        except BAD_ZIP as error:
            raise Unreadable(f"is a zip file whose list of contents cannot be read; {CUT}") from error
        self.file = Mapped(path)
        self.members = {member.filename: member for member in members}
        self.twice = {name for name, count in Counter(member.filename for member in members).items() if count > 1}
        self.prefix = self._prefix()

    def _prefix(self) -> str:
        roots = [name.removesuffix(PICKLE) for name in self.members if name.endswith("/" + PICKLE)]
        roots = [name for name in roots if name.count("/") == 1]
        if len(roots) != 1:
            raise Unreadable(
                f"is a zip file with {len(roots)} members FOLDER/{PICKLE}; torch.save writes one. If it is an archive "
                "of checkpoints, unpack it first."
            )
        if roots[0] + "constants.pkl" in self.members:
            raise Unreadable("is a TorchScript program; accepted are saved weights. Save its state_dict().")
        return roots[0]

    def check_byte_order(self) -> None:
        name = self.prefix + "byteorder"
        if name in self.members and self.content(name, 16) != sys.byteorder.encode():
            raise Unreadable(
                f"was written in another byte order; accepted: {sys.byteorder}. Save it again on such a machine."
            )

    def span(self, name: str) -> tuple[int, int]:
        """Start and length of a member's bytes. Raises `Unreadable` unless it is there once, stored and whole."""
        if name not in self.members:
            raise Unreadable(f"lacks the member {printable(name)}; {CUT}")
        member = self.members[name]
        if name in self.twice:
            raise Unreadable(f"has two members {printable(name)}. Take another copy.")
        if (
            member.compress_type != zipfile.ZIP_STORED
            or member.compress_size != member.file_size
            or member.flag_bits & 1
        ):
            raise Unreadable(
                f"holds {printable(name)} compressed or encrypted; torch.save stores it plainly. "
                "Load and save it again with torch."
            )
        local = member.header_offset
        head = self.file.map[local : local + LOCAL_HEADER] if local >= 0 else b""
        lengths = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        start = local + LOCAL_HEADER + lengths
        if head[:4] != b"PK\x03\x04" or start + member.file_size > self.file.size:
            raise Unreadable(f"is damaged where {printable(name)} should be; {CUT}")
        return start, member.file_size

    def content(self, name: str, longest: int) -> bytes:
        start, length = self.span(name)
        if length > longest:
            raise Unreadable(f"has {length} bytes in {printable(name)}; at most {longest}. Save the weights alone.")
        return self.file.map[start : start + length]


class _Listing(io.FileIO):
    """The file for whoever reads its list of contents. Its length is known before it is read, and may be a lie."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LONGEST_CONTENTS:
            raise Unreadable(
                f"is a zip file with a list of contents of {size} bytes; accepted: at most {LONGEST_CONTENTS}. Save "
                "the weights of one network alone."
            )
        return super().read(size)


class _Storages:
    """The storages by key; those that several tensors share are mapped once."""

    def __init__(self, archive: _Archive, weights: bool) -> None:
        self.archive = archive
        self.weights = weights
        self.mapped: dict[str, torch.UntypedStorage] = {}

    def named(self, identity: Any) -> object:
        """The storage of a persistent id: ("storage", type, key, device, elements)."""
        kind, storage_type, key, _, elements = identity if isinstance(identity, tuple) else ()
        if isinstance(storage_type, Dropped):
            return storage_type
        if kind != "storage" or not isinstance(storage_type, StorageType) or not isinstance(key, str):
            raise Unreadable("is damaged: it refers to something that is not a storage. Take another copy.")
        start, length = self.archive.span(f"{self.archive.prefix}data/{key}")
        width = storage_type.dtype.itemsize if storage_type.dtype else 1
        if not is_count(elements) or elements * width > length:
            raise Unreadable(
                f"is damaged: storage {printable(key)} has {length} bytes, fewer than it should. Take another copy."
            )
        if self.weights and key not in self.mapped:
            self.mapped[key] = self.archive.file.part(start, length, width)
        return Stored(storage_type.dtype, elements * width, self.mapped.get(key))
