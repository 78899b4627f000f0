"""A folder to a list of images: what lies in it, or what its metadata.jsonl names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from latentry.data.files.header import shown
from latentry.data.files.images import EXTENSIONS
from latentry.errors import UsageError

METADATA = "metadata.jsonl"
_NO_FIELDS: Mapping[str, Any] = {}
_FOREIGN = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".exr", ".dng", ".cr2", ".nef", ".tar", ".zip")


class Record(NamedTuple):
    """One image. path: relative to the root, with `/`. fields: its metadata. folder: where that lies, "" or "a/b/"."""

    path: str
    fields: Mapping[str, Any] = _NO_FIELDS
    folder: str = ""


@dataclass
class Scan:
    """What a walk found: image paths in order, metadata files, links that are not followed, files of other kinds."""

    images: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    foreign: dict[str, int] = field(default_factory=dict)


def real_root(root: str | os.PathLike[str]) -> Path:
    """The folder itself, links resolved. Raises `UsageError` if there is none."""
    path = Path(root)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
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
    content.images.sort(key=os.fsencode)
    content.metadata.sort(key=os.fsencode)
    return content


def _sort_entry(content: Scan, pending: list[str], path: str, entry: os.DirEntry[str], root: Path) -> None:
    suffix = Path(entry.name).suffix.lower()
    if entry.name.startswith("."):
        return
    if entry.is_symlink() and ((suffix not in EXTENSIONS and entry.name != METADATA) or not inside(root, path)):
        content.links.append(path)
    elif entry.is_dir():
        pending.append(path)
    elif not entry.is_file():
        return
    elif entry.name == METADATA:
        content.metadata.append(path)
    elif suffix in EXTENSIONS:
        content.images.append(path)
    elif suffix in _FOREIGN:
        content.foreign[suffix] = content.foreign.get(suffix, 0) + 1


def inside(root: Path, path: str) -> bool:
    """Whether a path, links followed, is an existing file below `root`."""
    try:
        target = (root / path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return False
    return target.is_relative_to(root) and target.is_file()


def read_records(root: Path, content: Scan | None = None) -> list[Record]:
    """The images of a folder. A metadata.jsonl at the root, else those in subfolders, lists them; else all are taken.

    Raises `UsageError` for a folder without images and for metadata that cannot be followed.
    """
    content = content or scan(root)
    if not content.metadata:
        if not content.images:
            raise UsageError(f"data folder {shown(str(root))}: {_why_empty(content)}")
        return [Record(path) for path in content.images]
    lists = [METADATA] if METADATA in content.metadata else content.metadata
    records = [record for name in lists for record in _read_metadata(root, name)]
    if not records:
        raise UsageError(f"{shown(str(root / lists[0]))}: lists no images.")
    _refuse_missing(root, records, set(content.images))
    return records


def _why_empty(content: Scan) -> str:
    kinds = ", ".join(EXTENSIONS)
    hints = [f"{count} {suffix} files are of a kind that is not read" for suffix, count in content.foreign.items()]
    if content.links:
        hints.append(f"{len(content.links)} links are not followed (first: {shown(content.links[0])})")
    if content.unreadable:
        hints.append(f"{len(content.unreadable)} folders cannot be opened (first: {shown(content.unreadable[0])})")
    return f"no images found in it or below; accepted: {kinds}. {'; '.join(hints)}".rstrip() + ("." if hints else "")


def _read_metadata(root: Path, name: str) -> list[Record]:
    folder = name[: -len(METADATA)]
    records = []
    with (root / name).open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                records.append(_parse(f"{shown(str(root / name))}:{number}", folder, line))
    return records


def _parse(where: str, folder: str, line: str) -> Record:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"{where}: not a JSON object ({error}). Each line describes one image.") from None
    name = row.get("file_name") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name:
        raise UsageError(
            f'{where}: no "file_name"; each line is a JSON object with the image\'s path relative to the file.'
        )
    path = below(folder, name)
    if path is None:
        raise UsageError(f"{where}: file_name {name!r} leads out of the folder; paths are relative and below it.")
    return Record(path, {key: value for key, value in row.items() if key != "file_name"}, folder)


def below(folder: str, name: str) -> str | None:
    """A name in the metadata of `folder` as a path from the root; None for one that leads out of the folder."""
    parts = name.replace("\\", "/").split("/")
    if "\0" in name or ".." in parts or name.startswith(("/", "\\")) or name[1:2] == ":":
        return None
    return folder + "/".join(p for p in name.split("/") if p not in ("", "."))


def _refuse_missing(root: Path, records: list[Record], seen: set[str]) -> None:
    """Names the walk did not see are absent, hidden, behind a link out of the folder, or of another extension."""
    missing: list[str] = []
    outside: list[str] = []
    for record in records:
        if record.path not in seen and not inside(root, record.path):
            (outside if os.path.lexists(root / record.path) else missing).append(record.path)
    for paths, what in ((missing, "names files that do not exist"), (outside, "names links out of the folder")):
        if paths:
            first = ", ".join(shown(p) for p in paths[:5])
            raise UsageError(
                f"data folder {shown(str(root))}: metadata {what}: {len(paths)} of {len(records)}: {first}."
            )


def known_fields(records: list[Record]) -> dict[str, int]:
    """Each metadata field and the number of images that have a value for it."""
    counts: dict[str, int] = {}
    for record in records:
        for name, value in record.fields.items():
            counts[name] = counts.get(name, 0) + (value is not None)
    return counts
