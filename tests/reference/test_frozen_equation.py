"""If these fail, the oracle of the training equation is not what its script makes, or leans on what it is to judge."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "reference" / "frozen" / "equation.json"
SCRIPTS = [*(ROOT / "scripts").glob("equation_*.py"), ROOT / "scripts" / "freeze_equation.py"]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text of nested lists and tables, by where it is; lists of numbers whole."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{place}]")
    else:
        yield path, value


def test_the_script_makes_the_file(tmp_path: Path) -> None:
    """A number changed by hand, or a formula without its numbers, would judge the training by neither."""
    made = tmp_path / "equation.json"
    subprocess.run([sys.executable, ROOT / "scripts" / "freeze_equation.py", "--out", made], check=True)
    kept, again = (dict(leaves(json.loads(file.read_text(encoding="utf-8")))) for file in (FILE, made))
    assert kept.keys() == again.keys()
    for path, value in kept.items():
        expected = pytest.approx(value, rel=1e-9, abs=1e-11) if isinstance(value, float) else value
        assert again[path] == expected, path


def test_the_script_is_independent() -> None:
    """An oracle that calls what it judges agrees with every fault of it."""
    accepted = {"numpy", *sys.stdlib_module_names, *(path.stem for path in SCRIPTS)}
    for path in SCRIPTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            assert {name.split(".")[0] for name in names} <= accepted, path.name
