"""The images that a folder's metadata lists, each row brought to the file that it means."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from latentry.data.files.header import shown
from latentry.data.folders.metadata.rows import Row, rows
from latentry.data.folders.record import Record, Remarks, below, parts_of
from latentry.data.folders.scan import METADATA, Scan, inside
from latentry.errors import UsageError

_TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".xlsx", ".xls", ".ods")
_TELLING = ("metadata", "caption", "label", "annotation", "instances", "prompt", "train", "test", "val", "data")


def listed(root: Path, content: Scan, remarks: Remarks) -> list[Record]:
    """A record for each row of the metadata at the root, else of each metadata file in the folders below.

    Raises `UsageError` for metadata that cannot be read, for names that lead out of the folder or to no file.
    """
    lists = _chosen(content.metadata, remarks)
    files, ways = _Files(root, content.images), Counter[str]()
    records = [_record(path, row, files, ways) for path in lists for row in rows(root, path)]
    if not records:
        raise UsageError(f"{shown(str(root / lists[0]))}: lists no images.")
    _refuse_missing(root, records, files.seen)
    if any(not path.endswith(METADATA[0]) for path in lists):
        remarks.read.append(f"{', '.join(sorted({parts_of(path).name for path in lists}))} lists the images")
    remarks.read += [f"metadata: {how} ({count} of {len(records)} rows)" for how, count in ways.items()]
    return records


def named_by(records: Sequence[Record]) -> set[str]:
    """What may be paths in the fields of the records, from the root: maps, masks and arrays are no images left out."""
    named = set[str]()
    for record in records:
        for value in record.fields.values():
            if isinstance(value, str) and "." in value[-10:]:
                named.add(record.folder + value.replace("\\", "/"))
    return named


def _chosen(found: Sequence[str], remarks: Remarks) -> list[str]:
    """The metadata files that are read: one a folder, and only that at the root where there is one."""
    best: dict[str, str] = {}
    for path in sorted(found, key=lambda path: METADATA.index(parts_of(path).name)):
        folder = parts_of(path).folder
        if folder in best:
            remarks.left.append(f"{shown(path)}, as {parts_of(best[folder]).name} lies beside it")
        best.setdefault(folder, path)
    if "" not in best:
        return sorted(best.values(), key=os.fsencode)
    top = best.pop("")
    if best:
        first = shown(min(best.values()))
        remarks.left.append(
            f"{len(best)} metadata files in folders, as {top} at the top lists the images (first: {first})"
        )
    return [top]


def _record(path: str, row: Row, files: _Files, ways: Counter[str]) -> Record:
    folder = parts_of(path).folder
    if "://" in row.name[:12]:
        raise UsageError(
            f"{row.where}: {row.by} {row.name[:100]!r} is an address. Download the images and name their files."
        )
    image = below(folder, row.name)
    if image is None:
        raise UsageError(
            f"{row.where}: {row.by} {row.name[:200]!r} leads out of the folder; paths are relative and below it."
        )
    if row.by != "file_name":
        ways[f"`{row.by}` is read as file_name"] += 1
    image, how = files.meant(image)
    if how:
        ways[how] += 1
    return Record(image, row.fields, folder)


class _Files:
    """The images of a folder, by their names and by what people and systems make of names."""

    def __init__(self, root: Path, images: Sequence[str]) -> None:
        self.root, self.seen = root, set(images)
        self._near: dict[str, str] = {}

    def meant(self, path: str) -> tuple[str, str]:
        """(the file that a path of the metadata means, in which way it differs from the path); itself where none is."""
        if path in self.seen or inside(self.root, path):
            return path, ""
        slashes = "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))
        if slashes in self.seen:
            return slashes, "paths are written with \\ and read with /"
        if not self._near:
            self._near = dict(_unique(self.seen))
        near = self._near.get(_folded(slashes), "")
        return (near, "names differ from the files' in case, accents or suffix") if near else (path, "")


def _unique(paths: set[str]) -> Iterator[tuple[str, str]]:
    """Each key of a path that is no other's, and the path: folded, and without its suffix."""
    keys = [(key, path) for path in paths for key in {_folded(path), _folded(parts_of(path).stem)}]
    counts = Counter(key for key, _ in keys)
    return ((key, path) for key, path in keys if counts[key] == 1)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _refuse_missing(root: Path, records: list[Record], seen: set[str]) -> None:
    """Names the walk did not see are absent, hidden, behind a link out of the folder, or of another extension."""
    missing: list[str] = []
    outside: list[str] = []
    for record in records:
        if record.path not in seen and not inside(root, record.path):
            (outside if _is_there(root, record.path) else missing).append(record.path)
    for paths, what in ((missing, "names files that do not exist"), (outside, "names links out of the folder")):
        if paths:
            first = ", ".join(shown(p) for p in paths[:5])
            raise UsageError(
                f"data folder {shown(str(root))}: metadata {what}: {len(paths)} of {len(records)}: {first}."
            )


def _is_there(root: Path, path: str) -> bool:
    try:
        return os.path.lexists(root / path)
    except (OSError, ValueError):
        return False


def metadata_like(content: Scan, known: Collection[str] = ()) -> list[str]:
    """A line for files that seem to be metadata and are not read. known: those of which all is said."""
    stems = {parts_of(path).stem for path in content.images} | set(content.images)
    beside, lines = [], []
    for path in content.others:
        folder, name, stem, suffix = parts_of(path)
        if suffix not in _TABLES or path in known:
            continue
        if stem in stems:
            beside.append(path)
        elif suffix in (".jsonl", ".csv", ".tsv", ".parquet"):
            looks = "looks like metadata" if name.lower().startswith("metadata") else "may be metadata"
            lines.append(f"{shown(path)} {looks}; rename it to {shown(folder)}metadata{suffix}")
        elif name.lower().startswith(_TELLING):
            lines.append(f"{shown(path)}; metadata is read from {', '.join(METADATA)}")
    if beside:
        names = ", ".join(METADATA[:2])
        lines.append(f"{len(beside)} files beside images (first: {shown(beside[0])}); fields are read from {names}")
    return lines if len(lines) <= 5 else [*lines[:5], f"and {len(lines) - 5} more files of this kind"]
