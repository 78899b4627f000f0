"""The directories of a TIFF (TIFF 6.0, BigTIFF): which tags each has, read only when wanted and never beyond the file.

Written here because a library that reads every tag it meets can be made to fill the memory by one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentry.data.files.header import BadImage

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TYPES = dict(
    zip(
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18),
        ("u1", "S1", "u2", "u4", "2u4", "i1", "u1", "i2", "i4", "2i4", "f4", "f8", "u4", "u8", "i8", "u8"),
        strict=True,
    )
)
"""By TIFF's number of a type: byte, text, short, long, rational, ..., and those of BigTIFF."""
_MOST_PAGES = 65536
_MOST_TAGS = 4096


class Tiff:
    """An open file. order: "<" or ">". size: bytes of the file. A context manager."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = Path(path).open("rb")  # noqa: SIM115 - closed by __exit__
        self.size = self.file.seek(0, 2)
        start = self.read(0, 16) if self.size >= 16 else b""
        self.order = "<" if start[:1] == b"I" else ">"
        self.big = start[2:4] in (b"+\0", b"\0+")
        self._first = self._number(start[8:16] if self.big else start[4:8])

    def __enter__(self) -> Tiff:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.file.close()

    def refused(self, reason: str) -> BadImage:
        """The error for this file."""
        return BadImage(self.path, reason)

    def read(self, offset: int, count: int) -> bytes:
        """These bytes of the file. Raises `BadImage` where it has not so many."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise self.refused(f"damaged: bytes {offset} to {offset + count} are named, the file has {self.size}")
        self.file.seek(offset)
        return self.file.read(count)

    def directories(self) -> Iterator[Directory]:
        """The chain of directories, each once."""
        offset, seen = self._first, set[int]()
        while offset and offset not in seen:
            if len(seen) >= _MOST_PAGES:
                raise self.refused(f"more than {_MOST_PAGES} pages")
            seen.add(offset)
            directory, offset = self._directory(offset)
            yield directory
        if offset:
            raise self.refused("damaged: its pages lead back to one another")

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self.order == "<" else "big")

    def _directory(self, offset: int) -> tuple[Directory, int]:
        head, entry, value = (8, 20, 8) if self.big else (2, 12, 4)
        count = self._number(self.read(offset, head))
        if not 0 < count <= _MOST_TAGS:
            raise self.refused(f"damaged: a page with {count} tags")
        body = self.read(offset + head, count * entry)
        tags: dict[int, tuple[int, int, bytes]] = {}
        for at in range(0, len(body), entry):
            code, kind = self._number(body[at : at + 2]), self._number(body[at + 2 : at + 4])
            tags.setdefault(
                code, (kind, self._number(body[at + 4 : at + 4 + value]), body[at + 4 + value : at + entry])
            )
        behind = offset + head + count * entry
        # A file that ends with its only directory, without the number of the next, is read everywhere.
        following = self._number(self.read(behind, value)) if behind + value <= self.size else 0
        return Directory(self, tags), following


@dataclass(frozen=True)
class Directory:
    """Tags of one page: type, count, and the value or where it lies."""

    tiff: Tiff
    tags: dict[int, tuple[int, int, bytes]]

    def array(self, code: int) -> NDArray[Any] | None:
        """The numbers of a tag; None where it is absent. Rationals are pairs."""
        if code not in self.tags:
            return None
        kind, count, value = self.tags[code]
        if kind not in _TYPES:
            raise self.tiff.refused(f"damaged: tag {code} is of type {kind}")
        dtype = np.dtype(_TYPES[kind] if kind in (2, 5, 10) else self.tiff.order + _TYPES[kind])
        if kind in (5, 10):
            dtype = np.dtype((self.tiff.order + _TYPES[kind][1:], 2))
        needed = count * dtype.itemsize
        data = value[:needed] if needed <= len(value) else self.tiff.read(self.tiff._number(value), needed)
        return np.frombuffer(data, dtype)

    def numbers(self, code: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The whole numbers of a tag that has a few of them."""
        array = self.array(code)
        if array is None or not len(array):
            return default
        if array.dtype.kind not in "ui" or len(array) > 65536:
            raise self.tiff.refused(f"damaged: tag {code} holds {len(array)} values of type {array.dtype}")
        return tuple(int(n) for n in array)

    def number(self, code: int, default: int) -> int:
        """The first whole number of a tag."""
        return self.numbers(code, (default,))[0]

    def text(self, code: int, most: int = 2**22) -> str:
        """The text of a tag, as much of it as is wanted; empty where there is none."""
        if code not in self.tags or self.tags[code][0] not in (1, 2, 7) or self.tags[code][1] > most:
            return ""
        array = self.array(code)
        return "" if array is None else array.tobytes().split(b"\0", 1)[0].decode("utf-8", "replace")
