"""A folder to a list of images: what lies in it, or what its metadata names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from latentry.data.files.header import shown
from latentry.data.files.images import EXTENSIONS
from latentry.data.folders import splits
from latentry.data.folders.companions import attached, companions
from latentry.data.folders.foreign import Foreign, sorted_out
from latentry.data.folders.metadata.annotations import add_annotations
from latentry.data.folders.metadata.annotations.images import Images
from latentry.data.folders.metadata.captions import add_text_files, left_over, text_files
from latentry.data.folders.metadata.fields import LABEL, OBJECTS, TEXT, add_usual
from latentry.data.folders.metadata.listed import listed, metadata_like, named_by
from latentry.data.folders.record import Record, Remarks, below
from latentry.data.folders.scan import Scan, inside, real_root, scan
from latentry.data.options import DataOptions
from latentry.errors import UsageError

__all__ = [
    "Folder",
    "Record",
    "Scan",
    "below",
    "inside",
    "known_fields",
    "not_entered",
    "read_folder",
    "read_records",
    "real_root",
    "scan",
]


class Folder(NamedTuple):
    """A folder that was read. foreign: its files that are no images of kinds that are read. unlisted: images that the
    metadata does not name."""

    root: Path
    records: list[Record]
    content: Scan
    foreign: Foreign
    unlisted: list[str]
    remarks: Remarks


def read_records(root: Path, content: Scan | None = None) -> list[Record]:
    """The images of a folder, as `read_folder` without options finds them."""
    return read_folder(root, None, content).records


def read_folder(root: Path, options: DataOptions | None = None, content: Scan | None = None) -> Folder:
    """The images of a folder. Metadata at the root, else that in subfolders, lists them; else all are taken.

    options: what of captions and splits is wanted; everything, if None. Raises `UsageError` for a folder without images
    and for metadata that cannot be followed.
    """
    content = content or scan(root)
    remarks = Remarks()
    if content.metadata:
        records = listed(root, content, remarks)
    elif content.images:
        records = [Record(path) for path in content.images]
    else:
        raise UsageError(f"data folder {shown(str(root))}: {_why_empty(content, sorted_out(root, content.others))}")
    wanted = _wanted(options)
    records, named = add_usual(records, wanted, remarks), named_by(records)
    images = Images(root, records, (options or DataOptions()).limits)
    records, annotated = add_annotations(images, content, wanted, remarks)
    named |= annotated
    texts = [path for path in content.texts if path not in named]
    beside = text_files(records, texts)
    if "text" in wanted:
        records = add_text_files(root, records, beside, remarks)
    elif beside:
        said = options.text or "null" if options else ""
        remarks.left.append(f"{len(beside)} text files, as the recipe's data.text is {said}")
    remarks.left += left_over(root, records, [path for path in texts if path not in set(beside.values())])
    if not content.metadata:
        for field in filter(None, (options.semantic, options.mask) if options else ()):
            records = attached(records, field, remarks)
        remarks.read += companions(records)
    records = splits.mark(records, options, remarks)
    known = named | named_by(records) | {record.path for record in records}
    unlisted = [path for path in content.images if path not in known]
    foreign = sorted_out(root, (path for path in content.others if path not in named))
    if unlisted:
        what = f"{len(unlisted)} of {len(content.images)} images, which the metadata does not name"
        remarks.left.append(f"{what} (first: {shown(unlisted[0])})")
    remarks.left += foreign.lines() + metadata_like(content, annotated)
    if content.clouds:
        remarks.left.append(
            f"{len(content.clouds)} files that are kept in the cloud (first: {shown(content.clouds[0])}): download them"
        )
    return Folder(root, records, content, foreign, unlisted, remarks)


def _wanted(options: DataOptions | None) -> list[str]:
    """Which of `text`, `label` and `objects` are to be looked for under other names, and in files of annotations."""
    if options is None:
        return [TEXT[0], LABEL[0], OBJECTS]
    named = {options.text, options.label, options.balance, options.split_by, *options.where}
    named.add(options.boxes)
    auto = {TEXT[0]: options.text == "auto", LABEL[0]: options.label == "auto", OBJECTS: options.boxes == "auto"}
    return [usual for usual, left_open in auto.items() if left_open or usual in named]


def _why_empty(content: Scan, foreign: Foreign) -> str:
    kinds = ", ".join(EXTENSIONS)
    hints = [
        f"{count} {suffix} files are of a kind that is not read ({kind.name}: {kind.how})"
        for (suffix, count), kind in zip(foreign.images.items(), foreign.kinds.values())
    ]
    hints += not_entered(content)
    if content.clouds:
        hints.append(f"{len(content.clouds)} files are kept in the cloud: download them")
    return f"no images found in it or below; accepted: {kinds}. {'; '.join(hints)}".rstrip() + ("." if hints else "")


def not_entered(content: Scan) -> list[str]:
    """A line for what the walk passed by: links, folders that cannot be opened, pipes and their like."""
    lines = []
    if content.links:
        lines.append(f"{len(content.links)} links are not followed (first: {shown(content.links[0])})")
    if content.unreadable:
        lines.append(f"{len(content.unreadable)} folders cannot be opened (first: {shown(content.unreadable[0])})")
    return lines + [f"{shown(path)}: {what}" for path, what in content.odd[:5] if not what.startswith("a folder")]


def known_fields(records: Sequence[Record]) -> dict[str, int]:
    """Each metadata field and the number of images that have a value for it."""
    counts: dict[str, int] = {}
    for record in records:
        for name, value in record.fields.items():
            counts[name] = counts.get(name, 0) + (value is not None)
    return counts
