"""One image of a folder, and what is said of how a folder was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_NO_FIELDS: Mapping[str, Any] = {}


class Record(NamedTuple):
    """One image. path: relative to the root, with `/`. fields: its metadata. folder: where that lies, "" or "a/b/".

    split: the name of the split that the folder says it belongs to, "" if it says nothing. above: the part of the path
    in front of the folders that are classes, "" or "train/".
    """

    path: str
    fields: Mapping[str, Any] = _NO_FIELDS
    folder: str = ""
    split: str = ""
    above: str = ""


@dataclass
class Remarks:
    """Lines for the person whose folder it is. read: what was taken for captions, names and splits, which the record of
    a run and its card keep. left: what lies there and takes no part."""

    read: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """All of them."""
        return [*self.read, *(f"not read: {line}" for line in self.left)]


class Parts(NamedTuple):
    """Of a path: folder with its last `/`, or ""; name; stem: the path without the suffix; suffix in small letters."""

    folder: str
    name: str
    stem: str
    suffix: str


def parts_of(path: str) -> Parts:
    """The parts of a path with `/` (pathlib takes ten times as long, and a folder may hold millions)."""
    above, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    return Parts(above + slash, name, above + slash + stem, (dot + suffix).lower())


def below(folder: str, name: str) -> str | None:
    """A name in the metadata of `folder` as a path from the root; None for one that leads out of the folder."""
    parts = name.replace("\\", "/").split("/")
    if "\0" in name or ".." in parts or name.startswith(("/", "\\")) or name[1:2] == ":":
        return None
    return folder + "/".join(p for p in name.split("/") if p not in ("", "."))
