"""Images that are parts of other images by their names: masks, maps of classes, depth. They train like any image."""

from __future__ import annotations

import re
from collections.abc import Sequence

from latentry.data.files.header import shown
from latentry.data.folders.record import Record, parts_of

_WORDS = (
    r"(masks?|segs?|segmentations?|semantic|labels?|annotations?|gts?|ground_?truths?|depths?|alphas?|mattes?|trimaps?)"
)
_ANYWHERE = re.compile(_WORDS, re.IGNORECASE)
_BEHIND = re.compile(rf"(.+)[ ._-]{_WORDS}", re.IGNORECASE)
_FOLDER = re.compile(rf"(.*[ ._-])?{_WORDS}", re.IGNORECASE)


def companions(records: Sequence[Record]) -> list[str]:
    """A line where images are called NAME_mask beside NAME, or lie in a folder like masks, named like others."""
    paths = [record.path for record in records if _ANYWHERE.search(record.path)]  # of millions of images, few
    if not paths:
        return []
    stems = {parts_of(record.path).stem for record in records}
    names: dict[str, set[str]] = {}
    for stem in stems:
        folder, _, name = stem.rpartition("/")
        names.setdefault(name, set()).add(folder)
    found = [path for path in paths if _is_companion(parts_of(path).stem, stems, names)]
    if not found:
        return []
    return [
        f"{len(found)} of {len(records)} images are named like masks or maps of others (first: {shown(found[0])}) and "
        "are trained on like those; move them away, or name them in a metadata.jsonl as mask or semantic of their image"
    ]


def _is_companion(stem: str, stems: set[str], names: dict[str, set[str]]) -> bool:
    folder, _, name = stem.rpartition("/")
    behind = _BEHIND.fullmatch(name)
    if behind and (f"{folder}/{behind[1]}" if folder else behind[1]) in stems:
        return True
    if not _FOLDER.fullmatch(folder.rpartition("/")[2]):
        return False
    return any(not _FOLDER.fullmatch(other.rpartition("/")[2]) for other in names[name] - {folder})
