"""What a data folder held, small enough to keep with a run, so that a later change can be named."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from latentry.data.files.header import shown
from latentry.data.files.images import stack_file
from latentry.data.folders.record import Record
from latentry.errors import LatentryError

CONTENT_READ = 100_000
_END_BYTES = 65536
_MAGIC = b"latentry-listing-1\n"


class Entry(NamedTuple):
    """One file: bytes, modification time in ns, and a digest of its content (both ends) and its metadata, in hex."""

    size: int
    modified: int
    content: str
    fields: str


class Difference(NamedTuple):
    """Paths that changed, appeared, or vanished between two listings."""

    changed: list[str]
    appeared: list[str]
    vanished: list[str]

    def __bool__(self) -> bool:
        return bool(self.changed or self.appeared or self.vanished)

    def text(self, most: int = 5) -> str:
        """One line: counts, and the first names of each."""
        parts = []
        for what, paths in zip(self._fields, self, strict=True):
            if paths:
                names = ", ".join(shown(p) for p in paths[:most]) + (", ..." if len(paths) > most else "")
                parts.append(f"{len(paths)} {what}: {names}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Listing:
    """Files by path."""

    entries: dict[str, Entry]

    @property
    def fingerprint(self) -> str:
        """Equal for equal files and metadata, whatever the modification times: a copied folder has the same one."""
        digest = hashlib.blake2b(digest_size=16)
        for path, entry in sorted(self.entries.items(), key=lambda item: os.fsencode(item[0])):
            digest.update(os.fsencode(path) + f"\0{entry.size}\0{entry.content}\0{entry.fields}\n".encode())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """The saved form: about 25 bytes a file."""
        rows = sorted(self.entries.items(), key=lambda item: os.fsencode(item[0]))
        lines = [os.fsencode(path) + "\0{}\0{}\0{}\0{}".format(*entry).encode() for path, entry in rows]
        return _MAGIC + zlib.compress(b"\0\n".join(lines), 9)

    @staticmethod
    def from_bytes(saved: bytes) -> Listing:
        """Read `to_bytes` back. Raises `LatentryError` for anything else."""
        try:
            if not saved.startswith(_MAGIC):
                raise ValueError
            text = zlib.decompress(saved[len(_MAGIC) :])
            entries = {}
            for line in text.split(b"\0\n") if text else []:
                path, size, modified, content, fields = line.split(b"\0")
                entries[os.fsdecode(path)] = Entry(int(size), int(modified), content.decode(), fields.decode())
            return Listing(entries)
        except (ValueError, zlib.error):
            raise LatentryError(
                "data listing: the saved list of the data folder is damaged. Restore or remove it."
            ) from None


def take(root: Path, records: Sequence[Record], earlier: Listing | None = None, others: Sequence[str] = ()) -> Listing:
    """List the files as they are now.

    earlier: an earlier listing; files of the same size and time are not read again. others: files that belong to the
    images, such as semantic maps. Beyond `CONTENT_READ` files the modification time stands in for the content.
    """
    entries: dict[str, Entry] = {}
    fields: dict[str, list[str]] = {}
    for record in records:
        fields.setdefault(stack_file(record.path), []).append(
            json.dumps(dict(record.fields), sort_keys=True, default=str) if record.fields else ""
        )
    for path in others:
        fields.setdefault(path, [""])
    for path, texts in fields.items():
        before = earlier.entries.get(path) if earlier else None
        meaning = _digest("\n".join(texts).encode()) if any(texts) else ""
        entries[path] = _entry(root / path, before, meaning, read=len(fields) <= CONTENT_READ)
    return Listing(entries)


def _entry(path: Path, before: Entry | None, fields: str, read: bool) -> Entry:
    try:
        stat = path.stat()
        if before and (before.size, before.modified) == (stat.st_size, stat.st_mtime_ns):
            return before._replace(fields=fields)
        content = _ends(path, stat.st_size) if read else _digest(str(stat.st_mtime_ns).encode())
    except OSError:
        return Entry(-1, 0, "", fields)
    return Entry(stat.st_size, stat.st_mtime_ns, content, fields)


def _ends(path: Path, size: int) -> str:
    with path.open("rb") as file:
        data = file.read(_END_BYTES)
        if size > 2 * _END_BYTES:
            file.seek(-_END_BYTES, os.SEEK_END)
        return _digest(data + file.read(_END_BYTES))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=6).hexdigest()


def difference(saved: Listing, now: Listing) -> Difference:
    """What happened to the folder between two listings."""
    old, new = saved.entries, now.entries
    changed = [p for p in old if p in new and not _same(old[p], new[p])]
    return Difference(changed, [p for p in new if p not in old], [p for p in old if p not in new])


def _same(a: Entry, b: Entry) -> bool:
    return (a.size, a.content, a.fields) == (b.size, b.content, b.fields)
