"""The files of a request, put into a folder of their own under names of ours: no path is ever taken from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from latentry.data.files import images, maps
from latentry.data.files.header import BadImage
from latentry.data.files.limits import Limits
from latentry.errors import UsageError, shown
from latentry.serve.api.bodies.body import Body
from latentry.tasks.options import TaskOptions

MOST_FILES = 64
ARRAYS = ("semantic", "embedding")
MODELS = ("autoguide", "classifier")


def path_fields(options: type[TaskOptions]) -> list[str]:
    """The options of a task that name files."""
    return [name for name, field in options.model_fields.items() if _has_path(field.annotation)]


def is_several(options: type[TaskOptions], name: str) -> bool:
    """Whether such an option holds several files, always."""
    field = options.model_fields[name]
    return bool(get_args(field.annotation)) and type(None) not in get_args(field.annotation)


def _has_path(kind: Any) -> bool:
    return kind is Path or any(_has_path(inner) for inner in get_args(kind))


def place(options: type[TaskOptions], body: Body, folder: Path, limits: Limits) -> dict[str, Any]:
    """The options of a task, with its files in `folder`; what is left in `body` are files of no option.

    Raises UsageError for a path in place of a file, and for pictures beyond the limits by their headers.
    """
    placed: dict[str, Any] = {}
    for name in path_fields(options):
        contents = body.take(name)
        if len(contents) > MOST_FILES:
            raise UsageError(f"{name}: {len(contents)} files; at most {MOST_FILES}.")
        paths = [_written(folder, f"{name}-{i}", content, limits) for i, content in enumerate(contents)]
        if len(paths) > 1 or (paths and is_several(options, name)):
            placed[name] = paths
        elif paths:
            placed[name] = paths[0]
    for name in ARRAYS:
        if name in options.model_fields:
            placed |= _array(name, body, folder, limits)
    if body.files:
        known = ", ".join(path_fields(options)) or "none"
        raise UsageError(f"{shown(next(iter(body.files)))}: a file that this task does not take; it takes: {known}.")
    _refuse_paths(body.fields)
    return {**body.fields, **placed}


def _written(folder: Path, stem: str, content: bytes, limits: Limits) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.img"
    path.write_bytes(content)
    try:
        images.header(path, limits)
    except BadImage as error:
        path.unlink()
        raise UsageError(f"{stem.rpartition('-')[0]}: {error.reason}; accepted: an image file.") from None
    return path


def _array(name: str, body: Body, folder: Path, limits: Limits) -> dict[str, Any]:
    """A map of classes or vectors: as a file, or as numbers in lists."""
    value = body.fields.get(name)
    if isinstance(value, list) and name not in body.files:
        del body.fields[name]
        return {name: _numbers(name, value)}
    contents = body.take(name)
    if not contents:
        return {}
    read = maps.read_classes if name == "semantic" else _embedding
    arrays = []
    for i, content in enumerate(contents):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{i}.img"
        path.write_bytes(content)
        try:
            images.header(path, limits) if name == "semantic" else None
            arrays.append(read(path, limits))
        except BadImage as error:
            raise UsageError(f"{name}: {error.reason}; accepted: a file of {name} values.") from None
    return {name: arrays}


def _embedding(path: Path, limits: Limits) -> Any:
    named = path.with_suffix(".npy")
    path.rename(named)
    return maps.read_array(named, limits)


def _numbers(name: str, value: Sequence[Any]) -> Any:
    """An array of lists of numbers. Raises UsageError for lists of other things and of several lengths."""
    try:
        array = np.array(value)
        if array.dtype.kind not in "iuf" or not array.size:
            raise ValueError
    except (ValueError, OverflowError):
        raise UsageError(f"{name}: accepted: a file, or numbers in lists of equal lengths.") from None
    return array if name == "semantic" else array.astype(np.float32)


def _refuse_paths(fields: Mapping[str, Any]) -> None:
    """A layout in text would be the name of a file, here as on the command line."""
    layout = fields.get("layout")
    texts = layout if isinstance(layout, list) else [layout]
    if any(isinstance(one, str) for one in texts):
        raise UsageError('layout: accepted: boxes as JSON, [{"label": NAME, "bbox": [x, y, width, height]}, ...].')
