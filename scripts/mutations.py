"""Make one wrong change of the training equation after the other, and see that a test of the repository notices each.

    python scripts/mutations.py [WORD ...] [--jobs 2] [--list]

With words, only the changes whose name has one of them. Each is made in a copy of src; old text has to occur exactly
once below src, so that a line that was rewritten is reported rather than passed over. What no test notices is printed
as SURVIVED and makes the exit code 1. Minutes long: no part of `make test`.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy  # noqa: F401
import PIL.Image  # noqa: F401
import pydantic  # noqa: F401
import pytest
import tifffile  # noqa: F401
import tokenizers  # noqa: F401
import torch
import torch._dynamo  # all that is slow to load: here, once for all children
import yaml  # noqa: F401
from mutations_table import MUTATIONS, Change

ROOT = Path(__file__).parents[1]
FIRST = ["tests/unit/training/test_equation_diffusion.py", "tests/unit/training/test_equation_autoencoder.py"]
THEN = ["tests/unit/diffusion", "tests/unit/models", "tests/unit/nn", "tests/unit/training"]


class Failures:
    """Collects the names of failed tests, with the line that says why."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            reason = getattr(getattr(report.longrepr, "reprcrash", None), "message", "").splitlines() or [""]
            self.seen.append(f"{report.nodeid.removeprefix('tests/unit/')} ({reason[0][:90]})")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.seen.append(f"{report.nodeid}: not collected")


def place_of(old: str) -> Path:
    """The one file below src that has the text once."""
    holders = {path: path.read_text(encoding="utf-8").count(old) for path in (ROOT / "src").rglob("*.py")}
    places = {path: count for path, count in holders.items() if count}
    if list(places.values()) != [1]:
        raise LookupError(f"the text is in {sum(places.values())} places; adapt scripts/mutations_table.py")
    return next(iter(places)).relative_to(ROOT)


def applied(change: Change, target: Path) -> None:
    """A copy of src in target, with the first of the alternatives whose text is there."""
    shutil.copytree(ROOT / "src", target / "src", ignore=shutil.ignore_patterns("__pycache__"))
    problem = LookupError("no alternative")
    for old, new in change:
        try:
            path = place_of(old)
        except LookupError as error:
            problem = error
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        (target / path).write_text(text.replace(old, new), encoding="utf-8")
        return
    raise problem


def note_on(change: Change) -> str:
    """Whether a change can be made."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            applied(change, Path(folder))
        except LookupError as error:
            return f": NOT APPLIED: {error}"
    return ""


def first_failure(source: Path, tests: list[str], answers: Any) -> None:
    """In a child: run tests against a copy of src, stop at the first failure, send its name or None."""
    sys.path.insert(0, str(source))
    os.chdir(ROOT)
    failures = Failures()
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
        pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[failures])
    import latentry

    assert latentry.__file__ is not None
    assert Path(latentry.__file__).is_relative_to(source)
    answers.send(failures.seen[0] if failures.seen else None)


def caught_by(change: Change) -> str | None:
    """The first test that fails, or None."""
    with tempfile.TemporaryDirectory() as folder:
        applied(change, Path(folder))
        for tests in (FIRST, THEN):
            here, there = multiprocessing.get_context("fork").Pipe()
            source = Path(folder) / "src"
            child = multiprocessing.get_context("fork").Process(target=first_failure, args=(source, tests, there))
            child.start()
            there.close()
            try:
                failure: str | None = here.recv()
            except EOFError:
                failure = "the tests could not run"
            child.join()
            if failure:
                return failure
    return None


def verdict(name: str) -> tuple[str, str | None]:
    try:
        return name, caught_by(MUTATIONS[name])
    except LookupError as error:
        return name, f"NOT APPLIED: {error}"


def verdicts(names: list[str], jobs: int) -> Iterator[tuple[str, str | None]]:
    """By threads, each of which waits for a child."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(verdict, names)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="only name the changes, and whether their text is there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = [name for name in MUTATIONS if not arguments.words or any(word in name for word in arguments.words)]
    if arguments.list:
        print("\n".join(f"{name}{note_on(MUTATIONS[name])}" for name in names))
        return 0
    bad = 0
    for name, failure in verdicts(names, arguments.jobs):
        bad += failure is None or failure.startswith("NOT APPLIED")
        print(f"{name:56} {failure or 'SURVIVED'}", flush=True)
    print(f"{len(names)} changes, {bad} not noticed")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
