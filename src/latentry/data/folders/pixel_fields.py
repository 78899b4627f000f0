"""What the metadata says of the pixels of an image: boxes of objects, and files with maps, masks and arrays.

All of it describes the image as it is seen: upright, in pixels of the upright file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentry.data import transform
from latentry.data.files import maps
from latentry.data.files.header import Array, BadImage, shown
from latentry.data.folders.record import Record, below
from latentry.data.folders.scan import inside
from latentry.data.folders.select import value_of
from latentry.data.options import DataOptions
from latentry.errors import UsageError
from latentry.text import printable

KINDS = frozenset({"boxes", "semantic", "mask", "arrays"})
"""Fields of a sample that are read here."""
_BOXES = '{"bbox": [[x, y, width, height], ...], "categories": [...]}'


def boxes_of(record: Record, field: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """((N, 4) left, top, right, bottom in pixels, N names) of a record; no boxes where it has no value.

    Classes are named by `categories` or `category`; numbers become their text. Raises `UsageError` for anything else.
    """
    value = value_of(record, field)
    if value is None:
        return np.zeros((0, 4)), ()
    rows = value.get("bbox") if isinstance(value, Mapping) else None
    names = value.get("categories", value.get("category")) if isinstance(value, Mapping) else None
    if not isinstance(rows, list) or not isinstance(names, list):
        raise _refused(record, field, f"is {_short(value)}")
    if len(rows) != len(names):
        raise _refused(record, field, f"has {len(rows)} boxes and {len(names)} categories")
    for row in rows:
        if not _is_box(row):
            raise _refused(record, field, f"has the box {_short(row)}")
    for name in names:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise _refused(record, field, f"has the category {_short(name)}")
    corners = np.array(rows, dtype=np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners, tuple(printable(str(name)) for name in names)


def _is_box(row: Any) -> bool:
    numbers = isinstance(row, list) and len(row) == 4 and all(type(n) in (int, float) for n in row)
    return numbers and all(math.isfinite(n) for n in row) and row[2] >= 0 and row[3] >= 0


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refused(record: Record, field: str, what: str) -> UsageError:
    return UsageError(
        f"data.boxes: {shown(record.path)}: {field} {what}; accepted: {_BOXES}, all finite, sizes at least 0, one "
        "category a box, a name or a number. Correct the metadata."
    )


def file_fields(options: DataOptions) -> list[tuple[str, str]]:
    """(option, metadata field) for each field whose value is the path of a file."""
    single = [(key, getattr(options, key)) for key in ("semantic", "mask")]
    return [(key, field) for key, field in single if field] + [("arrays", field) for field in options.arrays]


def files_of(root: Path, records: Sequence[Record], options: DataOptions) -> Iterator[str]:
    """The path from the root of every file that the records name in these fields, as often as it is named."""
    for _, field in file_fields(options):
        for record in records:
            yield _path(root, record, field)


def _path(root: Path, record: Record, field: str) -> str:
    """From the root; a path written with \\ is read with / where there is no file of that very name."""
    value = value_of(record, field)
    path = below(record.folder, value) if isinstance(value, str) and value else None
    if path is not None and "\\" in path and not (root / path).exists():
        path = path.replace("\\", "/")
    return path or ""


def check(root: Path, records: Sequence[Record], options: DataOptions, most: int) -> None:
    """Raise `UsageError` naming images whose boxes, maps, masks or arrays are missing or cannot be followed.

    most: of more records than this an even sample is looked up on disk; each is again when it is read.
    """
    if options.boxes:
        _refuse_shares((boxes_of(record, options.boxes)[0] for record in records), options.boxes)
    for option, field in file_fields(options):
        without = [r.path for r in records if value_of(r, field) is None]
        if without:
            raise UsageError(
                f"data.{option}: {len(without)} images have no {field}: {_first(without)}. "
                f"Name a file for each, or leave these images out (data.where.{field}='*' keeps those that have one)."
            )
        astray = [r.path for r in records if not _path(root, r, field)]
        if astray:
            raise UsageError(
                f"data.{option}: {field} of {_first(astray)} is not a path that stays in the folder; paths are "
                "relative to the metadata file and below it. Correct the metadata."
            )
        sample = records[:: max(1, len(records) // most)]
        absent = [path for path in (_path(root, r, field) for r in sample) if not inside(root, path)]
        if absent:
            raise UsageError(
                f"data.{option}: {field} names {len(absent)} of {len(sample)} files that do not exist in the folder: "
                f"{_first(absent)}. Add them or correct the metadata."
            )


def _refuse_shares(corners: Iterable[NDArray[np.float64]], field: str) -> None:
    """Raise `UsageError` for boxes that all lie in the first pixel: they are told in shares of the image."""
    count, most = 0, 0.0
    for some in corners:
        count, most = count + len(some), max(most, some.max(initial=0.0))
    if count and most <= 1 + 1e-6:
        raise UsageError(
            f"data.boxes: {field}: no number of the {count} boxes is above 1, so they seem to be shares of the "
            "image; accepted: pixels of the file. Multiply x and width by its width, y and height by its height."
        )


def _first(paths: Sequence[str]) -> str:
    return ", ".join(shown(path) for path in paths[:5])


def read(
    root: Path, record: Record, options: DataOptions, reads: frozenset[str], geometry: transform.Geometry
) -> dict[str, Any]:
    """Those of `reads` that the options name, moved into the sample, by the name of their field of `Sample`.

    Raises `BadImage` for a file that cannot be used or is not of its image's size.
    """
    values: dict[str, Any] = {}
    if "boxes" in reads and options.boxes:
        values["boxes"] = transform.boxes(*boxes_of(record, options.boxes), geometry)
    if "semantic" in reads and options.semantic:
        values["semantic"] = transform.labels(_classes(root, record, options.semantic, options, geometry), geometry)
    if "mask" in reads and options.mask:
        values["mask"] = transform.labels(_classes(root, record, options.mask, options, geometry) != 0, geometry)
    if "arrays" in reads and options.arrays:
        values["arrays"] = {field: _array(root, record, field, options, geometry) for field in options.arrays}
    return values


def map_of(root: Path, record: Record, field: str, options: DataOptions) -> tuple[str, NDArray[np.int64]]:
    """(path from the root, class numbers (H, W)) of the map that a record names. Raises `BadImage`."""
    return _path(root, record, field), maps.read_classes(_existing(root, record, field), options.limits)


def _classes(
    root: Path, record: Record, field: str, options: DataOptions, geometry: transform.Geometry
) -> NDArray[np.int64]:
    path = _existing(root, record, field)
    numbers = maps.read_classes(path, options.limits)
    if numbers.shape != geometry.source:
        size = f"{numbers.shape[1]}x{numbers.shape[0]}"
        image = f"{geometry.source[1]}x{geometry.source[0]}"
        raise BadImage(path, f"is {size} pixels, but its image {shown(record.path)} is {image}")
    return numbers


def _array(root: Path, record: Record, field: str, options: DataOptions, geometry: transform.Geometry) -> Array:
    array = maps.read_array(_existing(root, record, field), options.limits)
    if array.shape[:2] != geometry.source:
        return array
    return transform.amounts(array, geometry) if array.dtype.kind == "f" else transform.labels(array, geometry)


def _existing(root: Path, record: Record, field: str) -> Path:
    path = _path(root, record, field)
    if not path or not inside(root, path):
        raise BadImage(root / (path or record.path), f"{field} names no file in the data folder")
    return root / path
