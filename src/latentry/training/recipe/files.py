"""The files of recipes: those that come with latentry, those of the zoo, a user's, and one that extends another."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from latentry import text
from latentry.config import parse_yaml
from latentry.errors import UsageError, did_you_mean, shown

LONGEST = 250_000  # bytes of a recipe; the longest of ours has 3000
ITS_OWN = ("name", "about")
"""Keys that a recipe never takes from the one it extends."""


def plain() -> list[str]:
    """The recipes made here."""
    return _in("")


def zoo() -> list[str]:
    """The experiments of the paper (docs/zoo.md)."""
    return _in("zoo")


def names() -> list[str]:
    """All recipes that come with latentry, those of the zoo last."""
    return [*plain(), *zoo()]


def _in(folder: str) -> list[str]:
    place = resources.files("latentry.recipes").joinpath(folder)
    return sorted((p.name[:-5] for p in place.iterdir() if p.name.endswith(".yaml")), key=_by_number)


def _by_number(name: str) -> list[str | int]:
    """ldm-8 before ldm-16."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def read_text(name: str) -> str:
    """The YAML of a recipe by its name, or of a file by its path."""
    for folder, there in (("", plain()), ("zoo/", zoo())):
        if name in there:
            return resources.files("latentry.recipes").joinpath(f"{folder}{name}.yaml").read_text(encoding="utf-8")
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or _is_file(path):
        if not _is_file(path):
            raise UsageError(
                f"recipe {shown(name, 300)}: no such file; give a path to a YAML file or one of: {_known()}"
            )
        return text.read(path, LONGEST, f"recipe {text.printable(name)}")
    hint = did_you_mean(name, names())
    raise UsageError(f'recipe: no "{shown(name)}"; known: {_known()}{hint}, or a path to a YAML file')


def _is_file(path: Path) -> bool:
    """False also for a name that is too long to be one."""
    try:
        return path.is_file()
    except OSError:
        return False


def _known() -> str:
    return f"{', '.join(plain())} and {len(zoo())} of the zoo (`latentry recipes` lists them)"


def read(name: str) -> dict[str, Any]:
    """The tree of a recipe, by name or path, laid over those it extends; without its `extends`.

    Raises UsageError for a recipe that cannot be found, and for recipes that extend each other in a cycle.
    """
    return _read(name, ())


def _read(name: str, above: tuple[str, ...]) -> dict[str, Any]:
    try:
        text = read_text(name)
    except UsageError as error:
        if above:
            raise UsageError(f"recipe {above[-1]}: extends: {str(error).removeprefix('recipe: ')}") from None
        raise
    tree = parse_yaml(text, name)
    base = tree.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise UsageError(
            f"recipe {name}: extends: found {shown(repr(base))}; accepted: a recipe's name, or a path to a YAML file"
        )
    base, chain = _beside(name, base), (*above, name)
    if base in chain:
        circle = " -> ".join((*chain[chain.index(base) :], base))
        raise UsageError(f"recipe {name}: extends: a cycle, {circle}. Take `extends` out of one of them.")
    below = {key: value for key, value in _read(base, chain).items() if key not in ITS_OWN}
    first = {key: tree[key] for key in ITS_OWN if key in tree}
    return {**first, **_over(below, tree)}


def _beside(name: str, base: str) -> str:
    """A path is meant from the folder of the file that gives it."""
    path = base not in names() and base.endswith((".yaml", ".yml"))
    return os.path.normpath(Path(name).parent / base) if path else base


def _over(below: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` laid over `below`: mappings merge key by key; anything else, and an entry of another kind, is replaced."""
    result = copy.deepcopy(dict(below))
    for key, value in top.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and _same_kind(old, value):
            result[key] = _over(old, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _same_kind(below: Mapping[str, Any], top: Mapping[str, Any]) -> bool:
    return "kind" not in top or "kind" not in below or top["kind"] == below["kind"]
