"""Walk a data folder once and sort what lies there by what it is."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from latentry.data.files.header import shown
from latentry.data.files.images import EXTENSIONS
from latentry.data.folders.record import parts_of
from latentry.errors import UsageError
from latentry.text import kind_of

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.tsv", "metadata.parquet")
"""Files that say what the images beside and below them are; of several in one folder the first of these is read."""
CAPTIONS = (".txt", ".caption")
"""Suffixes of text files that caption the image of the same name."""


@dataclass
class Scan:
    """What a walk found, every path relative to the root with `/`, in order.

    images, metadata, texts (captions, perhaps): by name alone. links: those that are not followed. odd: (path, what it
    is) of what is no file with bytes of its own, and of folders named like images. unreadable: folders. others: every
    other file. clouds: images that a cloud service keeps elsewhere, with a stub in their place.
    """

    images: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    odd: list[tuple[str, str]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    clouds: list[str] = field(default_factory=list)


def real_root(root: str | os.PathLike[str]) -> Path:
    """The folder itself, links resolved. Raises `UsageError` if there is none."""
    path = Path(root)
    try:
        kind = kind_of(path.stat().st_mode)
    except (OSError, ValueError):
        kind = None
    if kind != "a folder":
        what = f"is {kind}" if kind else "does not exist"
        raise UsageError(f"data folder {shown(os.fspath(root))}: {what}. Name a folder that holds images.")
    return path.resolve()


def scan(root: Path) -> Scan:
    """Walk everything below `root`, skipping hidden names; folders behind links are never entered."""
    content = Scan()
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda e: os.fsencode(e.name))
        except OSError:
            content.unreadable.append(folder or ".")
            continue
        for entry in entries:
            _sort_entry(content, pending, f"{folder}/{entry.name}".lstrip("/"), entry, root)
    for paths in (content.images, content.metadata, content.texts, content.others):
        paths.sort(key=os.fsencode)
    return content


def _sort_entry(content: Scan, pending: list[str], path: str, entry: os.DirEntry[str], root: Path) -> None:
    suffix = parts_of(entry.name).suffix
    if entry.name.startswith("."):
        if suffix == ".icloud":
            content.clouds.append(path)
        return
    known = suffix in EXTENSIONS or suffix in CAPTIONS or entry.name in METADATA
    if entry.is_symlink() and not (known and inside(root, path)):
        content.links.append(path)
    elif entry.is_dir():
        pending.append(path)
        if suffix in EXTENSIONS:
            content.odd.append((path, "a folder, though named like an image"))
    elif not entry.is_file():
        content.odd.append((path, _kind(root / path)))
    elif entry.name in METADATA:
        content.metadata.append(path)
    elif suffix in EXTENSIONS:
        content.images.append(path)
    else:
        (content.texts if suffix in CAPTIONS else content.others).append(path)


def _kind(path: Path) -> str:
    try:
        return kind_of(path.lstat().st_mode)
    except OSError:
        return "something that cannot be looked at"


def inside(root: Path, path: str) -> bool:
    """Whether a path, links followed, is an existing file below `root`."""
    try:
        target = (root / path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return False
    return target.is_relative_to(root) and target.is_file()


def where_to(root: Path, link: str) -> str:
    """Where a link leads that is not followed, in words."""
    path = root / link
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a loop: it leads back to itself"
        return f"leads to nothing ({shown(str(path.readlink()))})"
    target = path.resolve()
    if path.parent.is_relative_to(target):
        return "a loop: it leads to a folder that it lies in"
    what = kind_of(target.stat().st_mode)
    return f"leads to {shown(str(target))}, {what} {'in' if target.is_relative_to(root) else 'outside of'} this folder"
