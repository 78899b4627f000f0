"""YAML as people expect it: `1e-4` is a number, `no` is a word, a key may stand once, and nothing can run code."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from latentry import text as outside
from latentry.errors import UsageError, shown

DEEPEST = 50
MOST_DIGITS = 400
LONGEST = 4_000_000
"""Letters. A model with thousands of names of classes has some hundred thousand."""
_SCALARS = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
}
_NAMES = [tag.rpartition(":")[2] for tag in _SCALARS]
_KINDS = {"null": "null", "bool": "true or false", "int": "a whole number", "float": "a number"}
_PLAIN = {*_SCALARS, *(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))}


_NODES = {"seq": yaml.SequenceNode, "map": yaml.MappingNode, **dict.fromkeys(("str", *_NAMES), yaml.ScalarNode)}


def _wrong(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


class _Rules(Composer, SafeConstructor, Resolver):
    """YAML 1.2's core scalars; no tags, no aliases (a small file could stand for a huge tree), no repeated keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    depth = 0
    peek_event: Callable[[], Any]

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _wrong("anchors and aliases are not accepted", event)
        self.depth += 1
        if self.depth > DEEPEST:
            raise _wrong(f"is nested too deeply, in more than {DEEPEST} levels", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag not in _PLAIN:
            raise _wrong(f"tag {shown(node.tag)} is not accepted", node)
        kind = node.tag.rpartition(":")[2]
        if kind in _NODES and not isinstance(node, _NODES[kind]):
            raise _wrong(f"tag !!{kind} stands before something else", node)
        if isinstance(node, yaml.ScalarNode):
            self._check_scalar(node, kind)
        return super().construct_object(node, deep=deep)

    @staticmethod
    def _check_scalar(node: yaml.ScalarNode, kind: str) -> None:
        """A tag that is written out decides what a text is read as, whether or not the text is one."""
        text = str(node.value)
        if node.tag in _SCALARS and not re.fullmatch(_SCALARS[node.tag][0], text):
            raise _wrong(f'"{shown(text, 40)}" is not {_KINDS[kind]}', node)
        if kind in ("int", "float") and len(text) > MOST_DIGITS:
            raise _wrong(f"a number of {len(text)} digits; at most {MOST_DIGITS}", node)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise _wrong("half of a pair of escapes (\\ud800 to \\udfff), which is no letter", node)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = str(node.value).replace("_", "")
        return int(text, 16) if text.startswith("0x") else int(text)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _wrong("a key must be a plain word", key_node)
            if key_node.value in seen:
                raise _wrong(f'key "{shown(key_node.value)}" stands twice', key_node)
            seen.add(key_node.value)
        return yaml.constructor.BaseConstructor.construct_mapping(self, node, deep=deep)


class _Loader(_Rules, yaml.SafeLoader):
    """Read by Python: it tells what is wrong, and where."""


_LIBYAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Quick(_Rules, _LIBYAML):  # type: ignore[misc]
    """Read by libyaml where PyYAML has it, four times as fast; composed and checked by the same rules."""

    def __init__(self, text: str) -> None:
        Composer.__init__(self)
        _LIBYAML.__init__(self, text)


_READ_OTHERWISE = re.compile(r"\?|[|>]#")
"""What libyaml reads otherwise or takes where Python's reader refuses it; tabs and other controls besides."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back equal."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Quoted with escapes where there is more than plain letters: PyYAML folds rare line breaks away otherwise."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _represent_str)
_Rules.yaml_constructors = {
    **SafeConstructor.yaml_constructors,
    "tag:yaml.org,2002:int": _Rules.construct_yaml_int,
}
for _tag, (_pattern, _first) in _SCALARS.items():
    for _class in (_Rules, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), _first)


def _message(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    text = getattr(error, "problem", None) or str(error)
    return position + shown(" ".join(str(text).split()), 200)


def _parse(text: str, where: str) -> Any:
    if len(text) > LONGEST:
        raise UsageError(f"{where}: has {len(text)} letters; accepted: YAML of at most {LONGEST}")
    if text.replace("\n", "").isprintable() and not _READ_OTHERWISE.search(text):
        with suppress(yaml.YAMLError, ValueError, RecursionError):  # what is wrong is told by the other
            return yaml.load(text, Loader=_Quick)
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{where}: {_message(error)}; accepted: YAML") from None


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping that `text` writes. where: names the text in errors. Errors: `UsageError`, one line."""
    tree = _parse(text, where)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UsageError(f"{where}: is a {type(tree).__name__}; accepted: a mapping, lines of `key: value`")
    return tree


def parse_value(text: str, where: str) -> Any:
    """The value that `text` writes: a number, word, list, ... as in a recipe. Errors: `UsageError`."""
    return _parse(text, where)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a file; empty for an empty file. Errors: `UsageError`, one line with path, line and column."""
    return parse_yaml(outside.read(path, LONGEST), outside.printable(str(path)))


def dump_yaml(tree: Any) -> str:
    """`tree` as YAML, keys in their order; `parse_yaml` gives it back equal."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
