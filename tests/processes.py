"""No test leaves a process behind, whatever its outcome; and none depends on how the tests themselves were started."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ADOPTS = 36  # Linux's PR_SET_CHILD_SUBREAPER: whoever loses its parent below this process becomes its child
PATIENCE = 10.0  # seconds in which workers of a process that was killed notice that
KEPT = ("resource_tracker", "forkserver", "compile_worker")
"""Helpers that Python and torch keep for the next time; they end with this process."""


def prepare() -> None:
    """Signals as they are in a terminal, also where the tests run in the background; orphans are seen."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ADOPTS, 1, 0, 0, 0)


def below() -> dict[int, str]:
    """The processes that descend from this one and still run: their numbers and command lines."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # none at all, and nothing is read
        return {}
    lines: dict[int, str] = {}
    waiting = children(os.getpid())
    while waiting:
        one = waiting.pop()
        with suppress(OSError):
            line = Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            ended = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            if not ended and not any(helper in line for helper in KEPT):
                lines[one] = line
            waiting += children(one)
    return lines


def children(process: int) -> list[int]:
    """The processes that any of a process's threads has begun, or none where Linux does not tell."""
    found: list[int] = []
    for told in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, told.read_text().split())
    return found


def end(processes: dict[int, str]) -> None:
    """Kill them."""
    for one in processes:
        with suppress(OSError):
            os.kill(one, signal.SIGKILL)


@pytest.fixture(autouse=True)
def no_process_stays() -> Iterator[None]:
    """Set up before every other fixture of a test, and so the last one to look."""
    before = below()
    yield
    limit = time.monotonic() + PATIENCE
    while (left := {n: line for n, line in below().items() if n not in before}) and time.monotonic() < limit:
        time.sleep(0.1)
    end(left)
    with suppress(ChildProcessError, OSError):
        for one in left:
            os.waitpid(one, os.WNOHANG)
    if left:
        pytest.fail("processes were left behind: " + "; ".join(f"{n}: {line[:200]}" for n, line in left.items()))
