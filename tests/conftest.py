"""Tests run two at a time on small models: one thread each is faster, and makes results repeatable.

Nor do they wait for the disk: what a process reads back does not depend on it, and tests of what a crash of the machine
leaves count the calls of fsync themselves.
"""

from __future__ import annotations

import gc
import os
import sys

from tests import processes
from tests.browser import browser as browser
from tests.processes import no_process_stays as no_process_stays

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process that a test starts compiles all modules anew
sys.dont_write_bytecode = False
os.fsync = lambda fd: None
processes.prepare()


def pytest_collection_finish() -> None:
    """The modules and tests that are there by now stay to the end: no search for garbage goes through them again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
