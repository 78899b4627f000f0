"""A file of JSON lines that another process writes: only what is new of it is read."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST = 1 << 24
"""Bytes that are read at once."""
MARK = 256
"""Bytes before the place that was read up to: where they changed, the file is another one."""


class Tail:
    """Remembers how far a file was read. A training that was resumed takes rows back and writes the file anew; then
    all of it is read again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: tuple[int, int] | None = None
        self._at, self._mark = 0, b""

    def news(self) -> tuple[bool, list[dict[str, Any]]]:
        """Whether the file begins anew, so that what was read of it counts no more, and the rows that came since."""
        begun, data = False, b""
        with suppress(OSError):
            handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe that nobody writes to is not waited for
            try:
                begun, data = self._read(handle)
            finally:
                os.close(handle)
        return begun, _rows(data)

    def _read(self, handle: int) -> tuple[bool, bytes]:
        """Whole lines only: the last may be half written."""
        state, parts = os.fstat(handle), list[bytes]()
        if not stat.S_ISREG(state.st_mode):
            return False, b""
        file = (state.st_dev, state.st_ino)
        before = os.pread(handle, len(self._mark), self._at - len(self._mark))
        begun = self._at > 0 and (file != self._file or state.st_size < self._at or before != self._mark)
        if begun:
            self._at, self._mark = 0, b""
        self._file = file
        while part := os.pread(handle, MOST, self._at):
            whole = part[: part.rfind(b"\n") + 1]
            if not whole:
                break
            parts.append(whole)
            self._at += len(whole)
            self._mark = whole[-MARK:]
        return begun, b"".join(parts)


def _rows(data: bytes) -> list[dict[str, Any]]:
    """The lines that are rows of a stage at a step; others are damaged."""
    rows = []
    for line in data.splitlines():
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("stage"), str) and type(row.get("step")) is int:
                rows.append(row)
    return rows
