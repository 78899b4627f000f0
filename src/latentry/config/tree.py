"""Plain nested dictionaries, changed at a dotted path."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from latentry.config.text import parse_value
from latentry.errors import UsageError, shown


def override(tree: Mapping[str, Any], changes: Mapping[str, Any] | Iterable[str]) -> dict[str, Any]:
    """A copy of `tree` with values set at dotted paths; missing levels are made, names are checked by `validate`.

    changes: `{"a.b": 1}`, or `["a.b=1"]` with each value read as YAML. An entry of a table that is named by its kind
    alone opens up: `schedule: cosine` with `schedule.steps=500` is `{kind: cosine, steps: 500}`.
    Errors: `UsageError` for text without `=`, an empty path, or a path through a number or list.
    """
    result: dict[str, Any] = _own(tree)
    pairs = changes.items() if isinstance(changes, Mapping) else map(_split, changes)
    for path, value in pairs:
        _set(result, path, _own(value))
    return result


def _own(value: Any) -> Any:
    """A copy in which a mapping that occurs twice is two mappings: changing one does not change the other."""
    if isinstance(value, Mapping):
        return {key: _own(inner) for key, inner in value.items()}
    if isinstance(value, list):  # of thousands of names of classes
        return [_own(inner) for inner in value]
    return value if isinstance(value, str | int | float | None) else copy.deepcopy(value)


def _split(change: str) -> tuple[str, Any]:
    path, equals, text = change.partition("=")
    if not equals or not all(path.strip().split(".")):
        raise UsageError(f'override "{shown(change)}": is not KEY=VALUE; accepted: as in diffusion.train.steps=20000')
    return path.strip(), parse_value(text, f'override "{shown(change)}"')


def _set(tree: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    node = tree
    for depth, key in enumerate(above):
        below = node.get(key)
        if below is None:
            below = {}
        elif isinstance(below, str):
            below = {"kind": below}
        elif not isinstance(below, dict):
            inner = ".".join(above[: depth + 1])
            raise UsageError(
                f'override "{shown(path)}": {shown(inner)} is {shown(repr(below))}, not a mapping; '
                f"set {shown(inner)} as a whole"
            )
        node[key] = below
        node = below
    node[last] = value
