"""Images that are parts of other images by their names: masks, maps of classes, depth. They train like any image."""

from __future__ import annotations

import re
from collections.abc import Sequence

from latentry.data.files.header import shown
from latentry.data.folders.record import Record, Remarks, parts_of

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
        "are trained on like those; move them away, or set data.mask or data.semantic to the name of their folder, or "
        "to what follows the name of their image"
    ]


def attached(records: Sequence[Record], field: str, remarks: Remarks) -> list[Record]:
    """The records without those that lie in a folder called `field`, or are called NAME_field: each is now that field
    of the image of its name, the nearest where there are several.
    """
    names = {record.path: _named_after(record.path, field) for record in records}
    owners: dict[str, list[str]] = {}
    for path in names:
        if names[path] is None:
            owners.setdefault(parts_of(path).stem.rpartition("/")[2], []).append(path)
    given: dict[str, str] = {}
    for path, named in names.items():
        above, name = named or ("", "")
        near = [owner for owner in owners.get(name, []) if owner.startswith(above)]
        if named and len(near) == 1:
            given[near[0]] = path
    if given:
        first = next(iter(given))
        remarks.read.append(
            f"{len(given)} images are {field} of images of their name (first: {shown(given[first])} of {shown(first)})"
        )
    taken = set(given.values())
    return [
        r._replace(fields={**r.fields, field: given[r.path]}) if r.path in given else r
        for r in records
        if r.path not in taken
    ]


def _named_after(path: str, field: str) -> tuple[str, str] | None:
    """(the folder in which its image lies, that image's name) of a map by its path; None where it is no such map."""
    folder, _, stem = parts_of(path).stem.rpartition("/")
    above, _, last = folder.rpartition("/")
    if last.lower() == field.lower():
        return (f"{above}/" if above else "", stem)
    behind = re.fullmatch(rf"(.+)[ ._-]{re.escape(field)}", stem, re.IGNORECASE)
    return (f"{folder}/" if folder else "", behind[1]) if behind else None


def _is_companion(stem: str, stems: set[str], names: dict[str, set[str]]) -> bool:
    folder, _, name = stem.rpartition("/")
    behind = _BEHIND.fullmatch(name)
    if behind and (f"{folder}/{behind[1]}" if folder else behind[1]) in stems:
        return True
    if not _FOLDER.fullmatch(folder.rpartition("/")[2]):
        return False
    return any(not _FOLDER.fullmatch(other.rpartition("/")[2]) for other in names[name] - {folder})
