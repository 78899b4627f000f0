"""Folders published whole, with size and SHA-256 of each file: safetensors does not notice a flipped bit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from latentry import text
from latentry.checkpoints import durable
from latentry.errors import UsageError

NAME = "manifest.json"
REPLACED = ".replaced" + durable.TMP


def write_manifest(folder: Path) -> None:
    """Write `manifest.json`: size and SHA-256 of every other file below `folder`."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / NAME:
            files[path.relative_to(folder).as_posix()] = {"sha256": digest(path), "size": path.stat().st_size}
    durable.write(folder / NAME, [_text(files).encode()])


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """The files that the manifest names, each with its `sha256` and `size`.

    `ValueError` when it is damaged, in words for a person; `FileNotFoundError` when there is none.
    """
    if not os.path.lexists(folder / NAME):
        raise FileNotFoundError(folder / NAME)
    try:
        written = text.read_bytes(folder / NAME, where=NAME).decode()
        content = json.loads(written)
    except (UsageError, RecursionError, ValueError) as error:
        raise ValueError(_in_words(error)) from None
    files = content["files"] if isinstance(content, dict) and "files" in content else None
    if not isinstance(files, dict) or written != _text(files):
        raise ValueError("it was changed after it was written")
    return files


def verify(folder: Path, without: Collection[str] = ()) -> list[str]:
    """What is wrong with a folder, one text for each file; empty when every file is as its manifest says.

    Files that the manifest does not name are not looked at, nor those in `without`.
    """
    try:
        files = read_manifest(folder)
    except FileNotFoundError:
        return [f"{NAME} is missing"]
    except ValueError as error:
        return [f"{NAME} is damaged ({error})"]
    problems = (_problem(folder, name, entry) for name, entry in files.items() if name not in without)
    return [problem for problem in problems if problem]


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            sha.update(part)
    return sha.hexdigest()


@contextmanager
def publishing(final: Path, need: int) -> Iterator[Path]:
    """A new folder to fill; when the block ends it gets its manifest and appears as `final`, whole, in one step.

    final: the folder's name at the end; whatever exists there is replaced.
    need: bytes about to be written, compared with the free space first.
    Errors: `DiskFull` (exit code 74), or `LatentryError` for another failure of the disk. After an error nothing
    of the new folder is left and an old `final` is untouched. Files written inside the block must be fsynced.
    """
    fresh, old = final.with_name(final.name + durable.TMP), final.with_name(final.name + REPLACED)
    try:
        durable.remove(fresh)
        if durable.free_space(final) < need:
            raise durable.disk_full(final, need)
        fresh.mkdir(parents=True)
        yield fresh
        write_manifest(fresh)
        durable.sync_folder(fresh)
        if final.exists():
            durable.remove(old)
            durable.rename(final, old)
        durable.rename(fresh, final)
        durable.sync_folder(final.parent)
        durable.remove(old)
    except BaseException as error:
        _withdraw(fresh, old, final)
        if isinstance(error, OSError):
            raise durable.explain(error, final, need) from error
        raise


def recover(folder: Path, pattern: str = "*") -> None:
    """Clear what a killed writer left in `folder`: only for the one who writes there, before anything is read.

    A folder that was being replaced gets its name back when its successor never came.
    """
    for path in sorted(folder.glob(pattern + durable.TMP)):
        final = path.with_name(path.name.removesuffix(REPLACED))
        if path.name.endswith(REPLACED) and not final.exists():
            durable.rename(path, final)
        else:
            durable.remove(path)


def _withdraw(fresh: Path, old: Path, final: Path) -> None:
    try:
        if old.exists() and not final.exists():
            durable.rename(old, final)
        durable.remove(fresh)
    except OSError:
        pass  # the first error is the one to tell; the next start clears the rest


def _problem(folder: Path, name: str, entry: Any) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return f"{name} lies outside the folder"
    try:
        size = (folder / path).stat().st_size
        if size != entry["size"]:
            return f"{name} has {size} bytes instead of {entry['size']}"
        if digest(folder / path) != entry["sha256"]:
            return f"{name} is damaged (its SHA-256 does not match)"
    except FileNotFoundError:
        return f"{name} is missing"
    except (OSError, KeyError, TypeError, ValueError) as error:
        return f"{name} cannot be read ({error})"
    return ""


def _in_words(error: Exception) -> str:
    """Python's own text of an error about JSON or bytes says nothing to a person."""
    if isinstance(error, UsageError):
        return str(error).partition(": ")[2].partition(";")[0]
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else "it is not JSON"


def _text(files: dict[str, dict[str, Any]]) -> str:
    """The manifest with a digest of itself, so that a flipped bit in it is not taken for one in another file."""
    own = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return json.dumps({"files": files, "sha256": own}, indent=1, sort_keys=True) + "\n"
