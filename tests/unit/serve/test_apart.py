"""Work beside the engine leaves no thread behind that slows it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from latentry.serve.apart import apart, aside

TASKS = Path("/proc/self/task")
COUNTED = f"""
import time, pathlib, torch
from latentry.serve.apart import apart

def threads():
    return len(list(pathlib.Path("{TASKS}").iterdir()))

def computed():
    torch.ones(1_000_000).exp().sum()
    return threads()

before = threads()
during, left = apart(computed), time.monotonic() + 20
while threads() > before and time.monotonic() < left:
    time.sleep(0.01)
print(before, during, threads(), computed())
"""


def test_returns_and_raises_what_the_function_does() -> None:
    assert apart(divmod, 17, 5) == (3, 2)
    assert asyncio.run(aside(sorted, [2, 1, 3], reverse=True)) == [3, 2, 1]
    with pytest.raises(ZeroDivisionError):
        apart(divmod, 1, 0)


@pytest.mark.skipif(not TASKS.is_dir(), reason="threads are counted in /proc, which this system does not have")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor computes nothing in parallel")
def test_helpers_of_a_parallel_computation_end_with_it() -> None:
    where = {**os.environ, "OMP_NUM_THREADS": "2"}
    told = subprocess.run([sys.executable, "-c", COUNTED], env=where, capture_output=True, text=True, check=True)
    before, during, after, without = map(int, told.stdout.split())
    assert during >= before + 2  # its own thread and a helper
    assert after == before
    assert without > before  # of a thread that goes on, the helper stays
