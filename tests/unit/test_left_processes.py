"""If these fail, the tests leave processes on people's machines, or fail where a shell runs them in the background."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEAVES = """
import os, subprocess, sys
from tests.processes import no_process_stays

def test_that_{outcome}():
    code = "import os, time; print(os.fork(), flush=True); time.sleep(100)"
    made = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    forked = made.stdout.readline()  # and 0, of the fork itself
    open({told!r}, "w").write(f"{{made.pid}} {{forked.decode().strip()}}")
    assert {outcome!r} == "passes"
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="finds processes in /proc")


def run(*words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", f'{before} exec "$@"', "sh", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    return subprocess.run(
        [*command, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("outcome", ["passes", "fails"])
def test_a_test_that_leaves_processes_is_named_and_they_are_ended(tmp_path: Path, outcome: str) -> None:
    """Its child, and what that one forked, which nobody else would know of."""
    told = tmp_path / "told"
    (tmp_path / "test_leaving.py").write_text(LEAVES.format(outcome=outcome, told=str(told)))
    (tmp_path / "conftest.py").write_text(
        "from tests import processes\nprocesses.prepare()\nprocesses.PATIENCE = 0.5\n"
    )
    done = run(str(tmp_path), "--rootdir", str(tmp_path), "-c", os.devnull)
    assert done.returncode == 1
    assert "processes were left behind" in done.stdout
    for number in told.read_text().split():
        assert number == "0" or not alive(int(number))


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.soak
def test_tests_that_are_run_with_sigint_ignored_interrupt_their_children_all_the_same() -> None:
    """As in a background job of a shell's script, under nohup, or on a build machine."""
    done = run("tests/unit/data/test_loader.py", "-k", "outlives and interrupt", before="trap '' INT;")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
