"""Studies: what is found out by many trainings or many people, in a folder that goes on where it was stopped.

A new study is a folder here, a line in STUDIES, and a command in `cli/study/`. Its folder on disk holds `study.json`,
whose key `study` is the name in this table; `latentry study report` reads the table and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from latentry.errors import UsageError, did_you_mean, shown
from latentry.study.findings import Findings
from latentry.text import one_line, read

__all__ = ["FILE", "STUDIES", "Entry", "Findings", "is_study", "kind_of", "report"]

FILE = "study.json"
"""What a study is, in its folder."""


@dataclass(frozen=True)
class Entry:
    """A line of STUDIES. source: the module of this package whose `report(folder)` tells what was found."""

    help: str
    source: str

    @property
    def report(self) -> Callable[[Path], Findings]:
        """What was found so far in the folder of such a study."""
        found: Callable[[Path], Findings] = import_module(f"{__name__}.{self.source}").report
        return found


STUDIES: dict[str, Entry] = {
    "compression": Entry("How far a first stage should shrink these images, at equal compute.", "compression.report"),
    "preference": Entry(
        "Which of two methods people prefer, and whether they tell them from real.", "preference.report"
    ),
}


def is_study(folder: Path) -> bool:
    """Whether a folder holds one; a name that is too long for a folder is none."""
    with suppress(OSError):
        return (folder / FILE).is_file()
    return False


def kind_of(folder: Path) -> str:
    """Which study of STUDIES a folder holds. Errors: `UsageError`, one line."""
    where = one_line(str(folder))
    if not is_study(folder):
        raise UsageError(f"{where}: no study ({FILE} is not there); give the folder that was --out of a study")
    try:
        said: Any = json.loads(read(folder / FILE))
        name = said["study"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(f"{where}: {FILE} is damaged; take the study from a copy, or make it again") from None
    if not isinstance(name, str) or name not in STUDIES:
        raise UsageError(f'{where}: no study "{shown(name)}"; known: {", ".join(STUDIES)}{did_you_mean(name, STUDIES)}')
    return name


def report(folder: Path) -> Findings:
    """What was found so far in the folder of any study. Errors: `UsageError`, one line."""
    return STUDIES[kind_of(folder)].report(folder)
