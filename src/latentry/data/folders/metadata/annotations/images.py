"""The images of a folder by the names that annotation files call them, and the fields that such files give them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from latentry.data.files.header import shown
from latentry.data.files.limits import Limits
from latentry.data.folders.metadata.fields import OBJECTS
from latentry.data.folders.record import Record, Remarks, parts_of
from latentry.data.folders.scan import Scan

Given = dict[str, Any]
"""The value of a field by the path of its image: boxes as `boxed` makes them, or captions."""


@dataclass
class Images:
    """The images of the folder `root`, by path. limits: to what their headers are read."""

    root: Path
    records: Sequence[Record]
    limits: Limits

    @cached_property
    def paths(self) -> set[str]:
        """All of them."""
        return {record.path for record in self.records}

    @cached_property
    def by_stem(self) -> dict[str, str]:
        """The path of each, by itself without its suffix."""
        return {parts_of(path).stem: path for path in sorted(self.paths)}

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        """The paths of each name, with and without its suffix."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.paths):
            parts = parts_of(path)
            for name in {parts.name, parts.stem.rpartition("/")[2]}:
                found.setdefault(name, []).append(path)
        return found

    def beside(self, path: str) -> str | None:
        """The image that a file is named after, in its folder."""
        return self.by_stem.get(parts_of(path).stem)

    def meant(self, name: str, file: str) -> str | None:
        """The image that a file means by a name: from the file's folder, from the root, or the only one of that name.

        Of several that below the file's folder, or below the one around it (val/Annotations/: val/), or in the folder
        that the file is named by (instances_val.json: val/).
        """
        name, folder = name.replace("\\", "/"), parts_of(file).folder
        exact = [path for path in (folder + name, name) if path in self.paths]
        if exact:
            return exact[0]
        near, words = self.by_name.get(name.rpartition("/")[2], []), re.split(r"[._]", parts_of(file).name)
        around = folder[:-1].rpartition("/")[0] + "/"
        groups = (
            near,
            [path for path in near if path.startswith(folder)],
            [path for path in near if path.startswith(around)],
            [path for path in near if path.split("/")[0] in words],
        )
        return next((group[0] for group in groups if len(group) == 1), None)


class Format(NamedTuple):
    """A format of annotation files.

    name, field: its own, and that which its files give. holds: what they hold, in words. files: which files of the
    folder are of it, by their names and first lines. read: of these files, what each image is given; a file that is
    not of the format is told in the remarks.
    """

    name: str
    field: str
    holds: str
    files: Callable[[Images, Scan], list[str]]
    read: Callable[[Images, Sequence[str], Remarks], Given]


def boxed(boxes: Sequence[Sequence[float]], names: Sequence[str]) -> Mapping[str, list[Any]]:
    """Boxes, each [x, y, width, height] in pixels, and the names of their classes, as imagefolders hold them."""
    return {"bbox": [list(box) for box in boxes], "categories": list(names)}


def around(points: Sequence[tuple[float, float]]) -> list[float]:
    """The box [x, y, width, height] around points (x, y)."""
    across, down = zip(*points, strict=True)
    return [min(across), min(down), max(across) - min(across), max(down) - min(down)]


def counted(files: Sequence[str]) -> str:
    """Files in a line: the one, or how many."""
    return shown(files[0]) if len(files) == 1 else f"{len(files)} files (first: {shown(files[0])})"


def tell(files: Sequence[str], given: Given, name: str, astray: Mapping[str, str], more: str, remarks: Remarks) -> None:
    """Say what boxes were read of files of a format. astray: of the files of which something was not, what."""
    boxes = sum(len(value["bbox"]) for value in given.values())
    of_some = f"; {len(astray)} of the files are not read whole" if given else f", of which none is read as {name}"
    first = "".join(f"{of_some} (first: {shown(path)}: {why})" for path, why in list(astray.items())[:1])
    if given:
        line = f"{counted(files)}: {boxes} boxes ({name}) of {len(given)} images, as the field `{OBJECTS}`{more}"
        remarks.read.append(line + first)
    else:
        remarks.left.append(counted(files) + first)
