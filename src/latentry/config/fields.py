"""Which keys are accepted at a path: found by walking the classes and the values side by side."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def keys_at(model: type[BaseModel], tree: Any, path: Iterable[str | int]) -> list[str]:
    """The accepted keys of the mapping at `path`, in their order; those of all classes that it may be."""
    kinds: list[Any] = [model]
    for part in path:
        kinds = [inner for kind in kinds for inner in _inside(kind, part, tree)]
        tree = tree.get(part) if isinstance(tree, Mapping) else tree[int(part)] if isinstance(tree, list) else None
    classes = [one for kind in kinds for one in _classes(kind, tree)]
    return list(dict.fromkeys(field.alias or key for one in classes for key, field in one.model_fields.items()))


def _classes(kind: Any, value: Any) -> Iterator[type[BaseModel]]:
    """The classes of options that a value of this type may be."""
    origin = get_origin(kind)
    if origin is Annotated:
        plain, *notes = get_args(kind)
        tables = [note.table for note in notes if hasattr(note, "table")]
        entries = [table.get(_kind_of(value)) for table in tables]
        yield from (entry.options for entry in entries if entry) if tables else _classes(plain, value)
    elif origin in (Union, types.UnionType):
        for inner in get_args(kind):
            yield from _classes(inner, value)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind


def _kind_of(value: Any) -> Any:
    return value.get("kind") if isinstance(value, Mapping) else value


def _inside(kind: Any, part: str | int, value: Any) -> Iterator[Any]:
    """The types that the member `part` of a value of this type may have."""
    for one in _classes(kind, value):
        for field in [field for key, field in one.model_fields.items() if part in (key, field.alias)]:
            parts: Any = (field.annotation, *field.metadata)
            yield Annotated[parts] if field.metadata else field.annotation
    for plain in _members(kind):
        if get_origin(plain) in (list, tuple, dict, Mapping):
            yield get_args(plain)[-1 if get_origin(plain) in (dict, Mapping) else 0]


def _members(kind: Any) -> Iterator[Any]:
    """A type, or each one of a union, without annotations."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    for one in get_args(kind) if get_origin(kind) in (Union, types.UnionType) else [kind]:
        yield get_args(one)[0] if get_origin(one) is Annotated else one
