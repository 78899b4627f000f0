"""What a study found: for people as tables and lines, for programs as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Table(NamedTuple):
    """One table for people."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Findings(NamedTuple):
    """tables, and lines that are said after them. plain: all of it as JSON can hold it."""

    tables: list[Table]
    lines: list[str]
    plain: dict[str, Any]
