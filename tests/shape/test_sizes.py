"""If these fail, something has grown past what one reads at a sitting, or names the machine it was made on."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
OTHERS = [path for folder in ("tests", "scripts", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
ALL = SOURCES + OTHERS
FILE, OTHER_FILE, MEDIAN, FUNCTION, FOLDER = 300, 350, 130, 60, 14


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_are_one_thing():
    assert not {name(path): length(path) for path in SOURCES if length(path) > FILE}
    assert not {name(path): length(path) for path in OTHERS if length(path) > OTHER_FILE}
    lengths = [length(path) for path in SOURCES if length(path) > 10]
    assert statistics.median(lengths) <= MEDIAN


def test_a_folder_is_read_at_a_glance():
    """One with more files needs folders that say its inner order."""
    counts = Counter(name(path.parent) for path in SOURCES)
    assert not {folder: files for folder, files in counts.items() if files > FOLDER}


def test_functions_fit_on_a_screen():
    lengths = {
        f"{name(path)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in ALL
        for node in functions(path)
    }
    assert not {function: lines for function, lines in lengths.items() if lines > FUNCTION}


def test_options_are_arguments():
    """`kwargs.get("lr", default)` makes a misspelt option silently the default."""
    found = [
        f"{name(path)}:{node.lineno}"
        for path in SOURCES
        for function in functions(path)
        if function.args.kwarg
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.attr in ("get", "pop") and node.value.id == function.args.kwarg.arg
    ]
    assert not found


def test_every_test_file_asserts():
    def checks(node: ast.AST) -> bool:
        called = isinstance(node, ast.Attribute) and (node.attr == "raises" or node.attr.startswith("assert_"))
        return isinstance(node, ast.Assert) or called

    files = [path for path in OTHERS if path.name.startswith("test_")]
    assert files
    assert not [name(path) for path in files if not any(checks(node) for node in ast.walk(tree_of(path)))]


def test_no_tracked_file_names_the_machine_it_was_made_on():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    folders = "|".join(["work", "farm", "root", "home"])
    pattern = re.compile(rf"(?:^|[^\w.\-])/(?:{folders}|opt/lt|tmp/w)/", re.MULTILINE)
    found = []
    for file in filter(None, listed.stdout.split("\0")):
        path = ROOT / file
        if path.is_file() and pattern.search(path.read_text(encoding="utf-8", errors="ignore")):
            found.append(file)
    assert not found
