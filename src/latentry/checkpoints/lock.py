"""One run per folder: a lock that the system itself gives up when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from latentry.errors import LatentryError, UsageError
from latentry.text import kind_of

NAME = "lock"
LONGEST = 4096  # bytes
IS_BSD = sys.platform != "linux"
FLOCK = "qqihh" if IS_BSD else "hhqqi4x"
"""`struct flock` of the BSDs and macOS, and of Linux on 64 bits."""
BUSY = (errno.EACCES, errno.EAGAIN)
# What this process holds, by (process, device, inode). The system would let one process lock a file twice, and would
# drop its lock as soon as the process closed the file anywhere: so a file held here is never opened again.
_held: dict[tuple[int, int, int], dict[str, Any]] = {}


def refuse_if_held(folder: Path) -> None:
    """Raise UsageError naming the holder, if a run holds the lock of `folder`; takes and writes nothing.

    For an early answer, before images are read; `RunLock` decides.
    """
    path = folder / NAME
    try:
        if holder := _held.get(_identity(path.stat())):
            raise _in_use(folder, holder)
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            raise _in_use(folder, _read(path)) from None
    finally:
        os.close(handle)


def is_held(folder: Path) -> bool:
    """Whether a process holds the lock of `folder`. Asks the system who would be in the way, and takes nothing: who
    begins a run at that moment is not disturbed."""
    try:
        if _held.get(_identity((folder / NAME).stat())):
            return True
        handle = os.open(folder / NAME, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        answer = struct.unpack(FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, struct.pack(FLOCK, *_record(fcntl.F_WRLCK))))
        return bool(answer[_record(-1).index(-1)] != fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(handle)


def _record(kind: int) -> tuple[int, ...]:
    """The system's description of a lock on all of a file."""
    return (0, 0, 0, kind, os.SEEK_SET) if IS_BSD else (kind, os.SEEK_SET, 0, 0, 0)


class RunLock:
    """The lock of a run folder, for `with` or by `acquire` and `release`.

    A record lock on `folder/lock`, which holds process, host and start time as JSON. It ends with its process, also
    after kill -9, and loader workers do not inherit it, so that orphans of a killed run cannot hold it.
    report: called with one line when the lock of a run that died elsewhere is taken over.
    option: what names the folder on the command line.
    Errors on acquire: `UsageError` naming the holder; `LatentryError` when the folder cannot be written.
    """

    def __init__(self, folder: Path, report: Callable[[str], None] = lambda _: None, *, option: str = "--out") -> None:
        self.folder, self.option = folder, option
        self._report = report
        self._handle: int | None = None
        self._identity: tuple[int, int, int] | None = None

    def acquire(self) -> None:
        """Take the lock or raise within a second."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / NAME
            if path.exists() and (holder := _held.get(_identity(path.stat()))):
                raise _in_use(self.folder, holder, self.option)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise LatentryError(f"{path}: is {kind_of(path.stat().st_mode)}, not a file. Remove it.")
        except OSError as error:
            raise LatentryError(
                f"{self.folder}: cannot be written: {error.strerror}. Choose another {self.option}."
            ) from error
        try:
            self._lock(handle)
            holder = self._sign(handle)
        except BaseException:
            os.close(handle)
            raise
        self._handle, self._identity = handle, _identity(os.fstat(handle))
        _held[self._identity] = holder

    def release(self) -> None:
        """Release the lock; nothing happens when it is not held."""
        if self._handle is None or self._identity is None:
            return
        _held.pop(self._identity, None)
        if self._identity[0] == os.getpid():
            os.ftruncate(self._handle, 0)
        os.close(self._handle)
        self._handle = None

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.release()

    def _lock(self, handle: int) -> None:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in BUSY:
                raise _in_use(self.folder, _read(self.folder / NAME), self.option) from None
            self._report(f"{self.folder}: this file system has no locks ({error.strerror}): start only one run here.")

    def _sign(self, handle: int) -> dict[str, Any]:
        before = _parse(os.pread(handle, LONGEST, 0))
        if before and before.get("host") != socket.gethostname():
            self._report(f"{self.folder}: taken over from {_who(before)}, which ended without releasing it.")
        me = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(me).encode(), 0)
        except OSError as error:
            raise LatentryError(f"{self.folder}: cannot be written: {error.strerror}. Free some space.") from error
        return me


def _in_use(folder: Path, holder: dict[str, Any], option: str = "--out") -> UsageError:
    return UsageError(
        f"{folder}: {_who(holder)} is running here; one run per folder at a time. "
        f"Wait for it, stop it, or choose another {option}."
    )


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return os.getpid(), status.st_dev, status.st_ino


def _who(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('process')} on host {holder.get('host')} (since {holder.get('since')})"


def _read(path: Path) -> dict[str, Any]:
    """What the holder wrote, waiting a little for one who has only just taken the lock."""
    for _ in range(10):
        with path.open("rb") as file:
            holder = _parse(file.read(LONGEST))
        if holder:
            return holder
        time.sleep(0.05)
    return {}


def _parse(data: bytes) -> dict[str, Any]:
    try:
        holder = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}
