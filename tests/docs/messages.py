"""Every text by which the source tells a person that something is amiss, collected without running anything."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

HOLE = "…"
SAYING = {"report", "_report", "warn", "complain", "event", "_tell", "tell", "debug", "info", "warning", "error"}
"""Functions that hand a line to a person, Python's own loggers among them."""
GATHERING = {"warnings", "left", "read", "unread", "notes", "problems", "advice", "said", "lines", "hints", "taken"}
"""Lists and arguments that hold such lines."""
LINES = {"list[str]", "tuple[str, ...]", "Iterator[str]", "Iterable[str]", "str | None", "list[str | None]"}
"""What a function returns that makes such lines."""
OF_LINES = ("training/", "data/", "pipeline/", "evaluation/")
"""Where functions that return lines return them for people; elsewhere they are names of things."""
REFUSING = re.compile(r"(Error|Full|Lost|Refused)$")
EDGES = " .,;:()[]'\""


class Message(NamedTuple):
    """place: file and line. text: with … for what varies, and without backticks."""

    place: str
    text: str


def said(source: Path) -> list[Message]:
    """Warnings, notes and remarks: what a person reads while a command goes on."""
    return _all(source, _Said)


def refusals(source: Path) -> list[Message]:
    """What a command ends with."""
    return _all(source, _Refused)


def plain(text: str) -> str:
    """A text of the source or of a page without line breaks and backticks."""
    return " ".join(text.replace("`", "").split())


def fixed(text: str) -> str:
    """The first words of a message that never vary: at most six of the first three or more in a row, else the most."""
    parts = [part.strip(EDGES) for part in text.split(HOLE)]
    enough = next((part for part in parts if len(part.split()) >= 3), max(parts, key=lambda part: len(part.split())))
    return " ".join(enough.split()[:6]).strip(EDGES)


@cache
def _all(source: Path, kind: type[_Texts]) -> list[Message]:
    files = {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*.py"))}
    trees = {where: ast.parse(path.read_text(encoding="utf-8")) for where, path in files.items()}
    makers = {name for where, tree in trees.items() for name in _read(kind, where, tree, set()).called}
    messages: dict[str, Message] = {}
    for where, tree in trees.items():
        for line, text in _read(kind, where, tree, makers).texts:
            messages.setdefault(text, Message(f"{where}:{line}", text))
    return list(messages.values())


def _read(kind: type[_Texts], where: str, tree: ast.Module, makers: set[str]) -> _Texts:
    reader = kind(where, makers)
    reader.visit(tree)
    return reader


class _Texts(ast.NodeVisitor):
    """Collects (line, text) from one file. makers: functions whose results are handed to a person somewhere."""

    def __init__(self, where: str, makers: set[str]) -> None:
        self.where, self.makers = where, makers
        self.texts, self.called = list[tuple[int, str]](), set[str]()
        self.functions: list[ast.FunctionDef] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.functions.append(node)
        self.generic_visit(node)
        self.functions.pop()

    def take(self, node: ast.AST) -> None:
        """The texts of an expression, and of the local names in it."""
        for place, text in _texts(node, self.functions[-1:]):
            if isinstance(place, ast.Call):
                self.called.add(text)
            elif len(text.split()) > 1 and re.search(r"[^\W\d_]{3}", text):
                self.texts.append((place.lineno, text))


class _Said(_Texts):
    def visit_Call(self, node: ast.Call) -> None:
        name = _last(node.func)
        gathers = isinstance(node.func, ast.Attribute) and name in ("append", "extend", "add")
        if name in SAYING or (gathers and _last(node.func.value) in GATHERING):  # type: ignore[attr-defined]
            for argument in node.args:
                self.take(argument)
        for keyword in node.keywords:
            if keyword.arg in GATHERING:
                self.take(keyword.value)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(_last(target) in GATHERING for target in node.targets):
            self.take(node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if _last(node.target) in GATHERING:
            self.take(node.value)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        self._of_lines(node.value)

    def visit_Yield(self, node: ast.Yield) -> None:
        self._of_lines(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._warns(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        self._warns(node)

    def _warns(self, node: ast.JoinedStr | ast.Constant) -> None:
        """A text that calls itself a warning, wherever it goes."""
        self.texts += [(node.lineno, text) for _, text in _texts(node, []) if re.search(r"(?i)warning:? \S\S", text)]

    def _of_lines(self, value: ast.expr | None) -> None:
        function = self.functions[-1] if self.functions else None
        if value is None or function is None:
            return
        lines = function.returns is not None and ast.unparse(function.returns) in LINES
        if function.name in self.makers or (lines and self.where.startswith(OF_LINES)):
            self.take(value)
        self.generic_visit(value)


class _Refused(_Texts):
    def visit_Call(self, node: ast.Call) -> None:
        if REFUSING.search(_last(node.func)) and node.args:
            self.take(node.args[-1])
        self.generic_visit(node)


def _last(node: ast.AST) -> str:
    """`append` of `a.b.append`, `warnings` of `self.warnings` and of `warnings`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _texts(node: ast.AST, functions: list[ast.FunctionDef]) -> Iterator[tuple[ast.expr, str]]:
    """The texts of an expression: each branch by itself, names looked up in the function; of a call its name."""
    if isinstance(node, ast.Name) and functions:
        for other in ast.walk(functions[0]):
            if isinstance(other, ast.Assign) and any(_last(target) == node.id for target in other.targets):
                yield from _texts(other.value, [])
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node, plain(node.value)
    elif isinstance(node, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values]
        yield node, plain("".join(parts))
    elif isinstance(node, ast.Call):
        yield node, _last(node.func)
    for part in _parts(node):
        yield from _texts(part, functions)


def _parts(node: ast.AST) -> list[ast.expr]:
    """The expressions of which any may be the text that another comes to."""
    match node:
        case ast.Call():
            return node.args
        case ast.BinOp(op=ast.Add()):
            return [node.left, node.right]
        case ast.BoolOp() | ast.Dict():
            return list(node.values)
        case ast.IfExp():
            return [node.body, node.orelse]
        case ast.List() | ast.Tuple():
            return node.elts
        case ast.ListComp() | ast.GeneratorExp():
            return [node.elt]
        case ast.Starred() | ast.NamedExpr():
            return [node.value]
    return []
