"""Options checked against their classes, with every error in a line of its own, and the schema for editors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pydantic
import yaml
from pydantic_core import ErrorDetails

from latentry.config.fields import keys_at
from latentry.errors import UsageError, did_you_mean, shown

Model = TypeVar("Model", bound=pydantic.BaseModel)
_MISSING = object()
MOST_LINES, MOST_SHOWN = 50, 40


def validate(model: type[Model], tree: Any, where: str) -> Model:
    """`tree` as an instance of `model`.

    where: what the tree is, at the head of errors, e.g. the recipe's path. Errors: one `UsageError` with all of them,
    a line each: dotted path, what was found, what is accepted, the nearest key.
    """
    try:
        return model.model_validate(tree)
    except pydantic.ValidationError as error:
        errors = error.errors(include_url=False)
    lines = list(dict.fromkeys(_lines(model, tree, [*errors, *_hidden(model, tree, errors)])))
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"... and {len(lines) - MOST_LINES} more"]
    if len(lines) == 1:
        raise UsageError(f"{where}: {lines[0]}")
    raise UsageError(f"{where}: {len(lines)} errors\n" + "\n".join(f"  {line}" for line in lines))


def _hidden(model: type[pydantic.BaseModel], tree: Any, errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """What the classes' own checks say: pydantic asks them only once every value in them is right.

    So ask again without the values that are wrong. A class whose own values are among those is not to be trusted then,
    nor is the whole.
    """
    wrong = [_path(tree, error) for error in errors if error["type"] != "missing"]
    try:
        model.model_validate(_without(tree, wrong))
    except pydantic.ValidationError as error:
        parents = {path[:-1] for path in wrong} | {()}
        checks = [one for one in error.errors(include_url=False) if one["type"] in ("value_error", "assertion_error")]
        return [one for one in checks if _path(tree, one) not in parents]
    return []


def _without(node: Any, paths: list[tuple[str | int, ...]]) -> Any:
    """A copy of nested mappings without what is at these paths."""
    if not isinstance(node, Mapping):
        return node
    inner = {key: [path[1:] for path in paths if path[:1] == (key,)] for key in node}
    return {key: _without(value, inner[key]) for key, value in node.items() if () not in inner[key]}


def _lines(model: type[pydantic.BaseModel], tree: Any, errors: list[ErrorDetails]) -> Iterable[str]:
    grouped: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    for error in _best_branches(tree, errors):
        grouped.setdefault(_path(tree, error), []).append(error)
    for path, at_path in grouped.items():
        dotted = ".".join(map(shown, path))
        accepted = list(dict.fromkeys(_accepted(error) for error in at_path))
        first = at_path[0]
        if first["type"] == "extra_forbidden":
            keys = keys_at(model, tree, path[:-1])
            yield f"{dotted}: unknown key{did_you_mean(path[-1], keys)}; known: {', '.join(keys)}"
        elif first["type"] == "missing":
            yield f"{dotted}: is missing; it has no default"
        elif first["type"] in ("value_error", "assertion_error", "kind"):
            yield ": ".join(filter(None, [dotted, first["msg"].removeprefix("Value error, ")]))
        else:
            hint = next(filter(None, map(_nearest, at_path)), "")
            yield f"{dotted or 'the whole'}: found {_show(first['input'])}; accepted: {' or '.join(accepted)}{hint}"


def _accepted(error: ErrorDetails) -> str:
    text = error["msg"].split(", unable to parse")[0].split(", got a number")[0]
    for start in (
        "Input should be ",
        "Value should have ",
        "Tuple should have ",
        "List should have ",
        "Dictionary should have ",
        "String should have ",
    ):
        text = text.removeprefix(start)
    text = text.removeprefix("a valid ").split(" after validation")[0]
    text = text.replace("dictionary or instance of", "mapping for").replace("dictionary", "mapping")
    return text.replace("tuple", "list")


def _nearest(error: ErrorDetails) -> str:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return did_you_mean(error["input"], expected.split("'")[1::2]) if error["type"] in ("literal_error", "enum") else ""


def _show(value: Any) -> str:
    if isinstance(value, str):
        return f'"{shown(value, 60)}"'
    if isinstance(value, int) and not isinstance(value, bool):
        return shown(value, 60)
    plain = _plain(value, [MOST_SHOWN])
    return shown(yaml.safe_dump(plain, default_flow_style=True, width=1e9).strip().removesuffix("...").strip(), 60)


def _plain(value: Any, left: list[int]) -> Any:
    """The beginning of a value, as plain data. left: how many more parts are looked at."""
    left[0] -= 1
    if isinstance(value, Mapping):
        return {shown(key): _plain(inner, left) for key, inner in value.items() if left[0] > 0}
    if isinstance(value, list | tuple):
        return [_plain(inner, left) for inner in value if left[0] > 0]
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return shown(value)
    return value if isinstance(value, float | bool | None) else shown(repr(value))


def _path(tree: Any, error: ErrorDetails) -> tuple[str | int, ...]:
    """The error's path in the tree: its location without the names of union branches."""
    path: list[str | int] = []
    node = tree
    for position, part in enumerate(error["loc"]):
        inner = _step(node, part)
        last = position == len(error["loc"]) - 1
        if inner is _MISSING and not (last and error["type"] == "missing"):
            continue
        if part != "[key]":
            path.append(part)
            node = inner
    return tuple(path)


def _step(node: Any, part: str | int) -> Any:
    if isinstance(node, Mapping):
        return node.get(part, _MISSING)
    if isinstance(node, list | tuple) and isinstance(part, int) and part < len(node):
        return node[part]
    return _MISSING


def _best_branches(tree: Any, errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Where a value may be one of several classes: only the complaints of the class that it comes nearest to."""
    branches: dict[tuple[str | int, ...], dict[str | int, list[ErrorDetails]]] = {}
    for error in errors:
        node = tree
        for position, part in enumerate(error["loc"]):
            absent_key = error["type"] == "missing" and position == len(error["loc"]) - 1
            if isinstance(node, Mapping) and _step(node, part) is _MISSING and not absent_key:
                branches.setdefault(error["loc"][:position], {}).setdefault(part, []).append(error)
                break
            node = _step(node, part)
    worse: list[ErrorDetails] = []
    for location, by_name in branches.items():
        depth = len(location) + 1
        fitting = {n: e for n, e in by_name.items() if all(len(x["loc"]) > depth for x in e)} or by_name
        unknown = {name: sum(e["type"] == "extra_forbidden" for e in branch) for name, branch in fitting.items()}
        best = min(fitting, key=lambda name: (unknown[name], len(fitting[name])))
        worse += [e for name, branch in by_name.items() if name != best for e in branch]
    return [error for error in errors if not any(error is bad for bad in worse)]


def schema(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """The JSON schema of a class of options, for editors that complete and check YAML."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
