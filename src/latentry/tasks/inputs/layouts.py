"""Layouts from JSON: boxes of one image, or of several."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentry import text
from latentry.errors import UsageError, shown

LIMIT = 2**26  # bytes
WANTED = '[{"label": NAME, "bbox": [x, y, width, height]}, ...], or a list of such lists'


def layouts(value: Any) -> list[Any]:
    """What was given, as a list of layouts: the path of a JSON file, one layout, or several.

    A layout is a list of boxes, a mapping of `boxes` with the `width` and `height` they are told in, or token numbers.
    Raises UsageError for a file that is no such JSON.
    """
    if isinstance(value, str | Path):
        return _of_file(Path(value))
    if isinstance(value, list | tuple):
        return list(value) if _are_several(value) else [value]
    return [value]


def _of_file(path: Path) -> list[Any]:
    where = shown(str(path))
    try:
        tree = json.loads(text.read(path, LIMIT, where), parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON ({text.one_line(str(error))[:200]}); accepted: {WANTED}") from None
    if not isinstance(tree, list | dict):
        raise UsageError(f"{where}: holds {shown(json.dumps(tree))}; accepted: {WANTED}")
    if not tree:
        raise UsageError(f"{where}: holds no box; accepted: {WANTED}")
    if isinstance(tree, dict) and "boxes" not in tree:
        keys = shown(", ".join(tree))
        raise UsageError(f"{where}: an object of {keys}; accepted: {WANTED}, or an object of boxes, width and height")
    return layouts(tree)


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _are_several(value: list[Any] | tuple[Any, ...]) -> bool:
    """Whether each of them is a layout by itself: a list, an array, nothing, or a mapping of boxes."""
    several = [one is None or isinstance(one, list | tuple) or hasattr(one, "shape") for one in value]
    mappings = [isinstance(one, Mapping) and "boxes" in one for one in value]
    return bool(value) and all((a and not _is_number(one)) or b for one, a, b in zip(value, several, mappings))


def _is_number(one: Any) -> bool:
    """A number of numpy or torch has a shape, too."""
    return getattr(one, "shape", None) == ()
