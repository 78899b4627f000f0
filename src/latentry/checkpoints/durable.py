"""Disk writes that are whole or absent: fsync, rename, and one clear error when the disk is full."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from latentry.errors import LatentryError

CHUNK = 16 << 20  # bytes per write
FULL = (errno.ENOSPC, errno.EDQUOT)
TMP = ".tmp"
HEADER = 4096  # bytes that `allocate` leaves as they are


class DiskFull(LatentryError):
    """There was no room for what had to be written. Exit code 74, the system's code for an output error."""

    exit_code = 74


def size_text(count: float) -> str:
    """A number of bytes for people: `12.3 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def free_space(path: Path) -> int:
    """Bytes that may still be written on the disk of `path` (or of its nearest parent that exists)."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def unwritable(folder: Path) -> str:
    """Why nothing could be written into a folder, which need not be there yet, in words; "" where it could."""
    try:
        nearest = next(one for one in (folder.absolute(), *folder.absolute().parents) if _is_there(one))
    except OSError as error:  # a name that is too long
        return f"it cannot be made: {error.strerror}"
    if not nearest.is_dir():
        return f"{nearest} is a file, not a folder"
    try:
        with tempfile.TemporaryDirectory(prefix=".latentry-", dir=nearest):  # rights alone do not tell, as of root's
            return ""
    except OSError as error:
        return f"{nearest} cannot be written: {error.strerror}"


def _is_there(path: Path) -> bool:
    """Also a link to nowhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def disk_full(path: Path, need: int) -> DiskFull:
    """The error for a `path` that needs `need` bytes on a disk without room for them."""
    return DiskFull(
        f"{path}: not written, the disk is full: {size_text(need)} needed, {size_text(free_space(path))} free. "
        "What was saved before is untouched. Free some space and run the same command again."
    )


def explain(error: OSError, path: Path, need: int) -> LatentryError:
    """A clear error for `error`, met while writing `need` bytes to `path`."""
    if error.errno in FULL:
        return disk_full(path, need)
    reason = error.strerror or str(error)
    return LatentryError(f"{path}: cannot be written: {reason}. What was saved before is untouched. Check the folder.")


def write(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write the parts, one after another, to a new file and wait until the disk has them."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(handle, view[:CHUNK]) :]
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path, need: int) -> Iterator[Path]:
    """A file beside `path`, with its ending, for a library to write; it gets the name when the block ends.

    After an error nothing of it is left and an older file at `path` is untouched. need: bytes, about. Raises DiskFull
    where there is no room; other errors of the system as they are. A device or a pipe is written as it is.
    """
    whole = path.is_file() or not path.exists()
    fresh = path.with_name(f".{os.getpid()}{TMP}{path.suffix}") if whole else path
    try:
        yield fresh
        if whole:
            rename(fresh, path.resolve() if path.is_symlink() else path)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(path, need) from error
        raise
    finally:
        if whole:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


def allocate(path: Path) -> None:
    """Reserve disk space for a sparse file that already has its final length. Raises DiskFull where there is none.

    Where the system cannot reserve space (macOS), zeros are written.
    """
    size = path.stat().st_size
    try:
        with path.open("rb+") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
                return
            kept = file.read(HEADER)  # of an array; behind it there are zeros as yet
            file.seek(0)
            file.write(kept)
            for start in range(len(kept), size, CHUNK):
                file.write(bytes(min(CHUNK, size - start)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise explain(error, path, size) from error


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(source: Path, target: Path) -> None:
    """Give `source` the name `target` in one step; a file there is replaced."""
    source.replace(target)


def remove(path: Path) -> None:
    """Remove a file or a whole folder; nothing happens when it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a small file so that a reader sees the old content or the new one."""
    data = content.encode() if isinstance(content, str) else content
    fresh = path.with_name(path.name + TMP)
    try:
        write(fresh, [data])
        rename(fresh, path)
        sync_folder(path.parent)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise explain(error, path, len(data)) from error
