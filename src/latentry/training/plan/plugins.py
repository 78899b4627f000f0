"""A user's own kinds: a Python file named on the command line, or entry points of installed packages."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from latentry.errors import UsageError

GROUP = "latentry.kinds"


def load_plugins(paths: Sequence[str | Path]) -> None:
    """Run each file, which adds entries to the tables, then each entry point's function."""
    for path in map(Path, paths):
        if not path.is_file():
            raise UsageError(f"plugin {path}: no such file; give a Python file")
        spec = importlib.util.spec_from_file_location(f"latentry_plugin_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        try:
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
        except Exception as error:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
            where = f"{path}, line {lines[-1]}" if lines else str(path)
            raise UsageError(f"plugin {where}: {type(error).__name__}: {error}. Fix the file.") from error
    for entry in entry_points(group=GROUP):
        entry.load()()
