"""If these fail, docs/architecture.md leads a reader to files, functions or calls that are not there."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

from latentry.cli import run as command
from tests.e2e.small_runs import noise, recipe, write_images
from tests.shape.test_imports import HEIGHT, ROOT, ROWS

PAGE = (ROOT.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
MOST_HOPS = 5


class Hop(NamedTuple):
    """A line of a walk: a function, and the call in it that leads on; empty in the last one."""

    file: str
    function: str
    call: str


def walk_of(title: str) -> list[Hop]:
    """The numbered lines below a title."""
    lines = PAGE.split(f"\n{title}\n\n")[1].split("\n\n")[0]
    pattern = r"^\d+\. `([\w/]+\.py): ([\w.]+)`(?: calls `([^`]+)\(\.\.\.\)`)?"
    return [Hop(*found) for found in re.findall(pattern, lines, re.MULTILINE)]


LOSS, NETWORK = walk_of("From the command to the loss:"), walk_of("From the command to the network:")


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function of a file with the classes and functions around it, as in `Loop.run`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield f"{prefix}{node.name}", node
        named = isinstance(node, ast.FunctionDef | ast.ClassDef)
        yield from functions(node, f"{prefix}{node.name}." if named else prefix)  # type: ignore[attr-defined]


def spelt(called: ast.expr) -> str:
    """What is called, as the page spells it: the arguments of calls inside are `...`."""
    if isinstance(called, ast.Attribute):
        return f"{spelt(called.value)}.{called.attr}"
    return f"{spelt(called.func)}(...)" if isinstance(called, ast.Call) else ast.unparse(called)


def calls_of(hop: Hop) -> set[str]:
    """What a function calls, by itself or by other functions of its file that it calls."""
    known = dict(functions(ast.parse((ROOT / hop.file).read_text(encoding="utf-8"))))
    assert hop.function in known, f"{hop.file} has no {hop.function}"
    found, left, done = set[str](), [hop.function], set[str]()
    while left:
        name = left.pop()
        done.add(name)
        calls = {spelt(node.func) for node in ast.walk(known[name]) if isinstance(node, ast.Call)}
        short = {call.removeprefix("self.") for call in calls}
        left += [other for other in known if other.split(".")[-1] in short and other not in done]
        found |= calls
    return found


@pytest.mark.parametrize("walk", [LOSS, NETWORK], ids=["loss", "network"])
def test_each_function_is_there_and_calls_the_next(walk: list[Hop]) -> None:
    assert len(walk) > 1
    for hop in walk[:-1]:
        assert hop.call in calls_of(hop), f"{hop.file}: {hop.function} does not call {hop.call}"
    assert not walk[-1].call
    calls_of(walk[-1])


def test_the_loss_is_few_hops_from_the_command() -> None:
    assert len(LOSS) - 1 <= MOST_HOPS


def first_calls(walk: list[Hop], arguments: list[str]) -> list[str]:
    """The functions of a walk in the order in which a command first calls them."""
    lines: dict[tuple[str, int], str] = {}
    for hop in walk:
        node = dict(functions(ast.parse((ROOT / hop.file).read_text(encoding="utf-8"))))[hop.function]
        line = min([node.lineno, *(one.lineno for one in node.decorator_list)])  # where Python counts it from
        lines[str(ROOT / hop.file), line] = f"{hop.file}: {hop.function}"
    called: dict[str, None] = {}

    def watch(frame: FrameType, event: str, _: Any) -> None:
        name = lines.get((frame.f_code.co_filename, frame.f_code.co_firstlineno)) if event == "call" else None
        if name is not None:
            called.setdefault(name)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        assert command(arguments) == 0
    finally:
        sys.setprofile(before)
    return list(called)


def test_commands_walk_that_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = write_images(tmp_path / "data", noise(4, (16, 16, 3))), str(tmp_path / "run")
    train = ["train", recipe(tmp_path, {"diffusion.conditioning": {}}), "--data", str(data), "--out", run]
    assert first_calls(LOSS, train) == [f"{hop.file}: {hop.function}" for hop in LOSS]
    sample = ["sample", run, "-n", "1", "--out", str(tmp_path / "drawn")]
    assert first_calls(NETWORK, sample) == [f"{hop.file}: {hop.function}" for hop in NETWORK]


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`([\w/]+/[\w/.]*)(?=[`:])", PAGE))
    paths = {name for name in named if name.endswith(".py") or (name.endswith("/") and name.count("/") > 1)}
    assert len(paths) > 20
    missing = {name for name in paths if not any((base / name).exists() for base in (ROOT, ROOT.parents[1]))}
    assert not missing


def test_the_layers_of_the_page_are_those_that_are_held() -> None:
    block = PAGE.split("```\n")[1]
    shown = [set(line[:32].split()) for line in block.splitlines()]
    there = {path.stem for path in ROOT.iterdir()} - {"__main__", "recipes"}
    assert shown == [row & there for row in ROWS if row & there]
    assert set().union(*shown) <= HEIGHT.keys()
