"""One run per folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentry.checkpoints import RunLock, durable
from latentry.errors import LatentryError, UsageError

HOLD = """
import os, sys, time
from pathlib import Path
from latentry.checkpoints import RunLock
RunLock(Path(sys.argv[1])).acquire()
orphan = os.fork()
if orphan:
    print(orphan, flush=True)
time.sleep(60)
"""
TRY = """
import sys
from pathlib import Path
from latentry.checkpoints import RunLock
from latentry.errors import UsageError
try:
    RunLock(Path(sys.argv[1])).acquire()
except UsageError as error:
    sys.exit(str(error))
"""


def python(script: str, folder: Path) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(Path(durable.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds the lock, and the loader worker it has forked."""
    process = python(HOLD, tmp_path)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    yield process, worker
    process.kill()
    process.wait()
    os.kill(worker, signal.SIGKILL)


def test_the_second_run_is_refused_by_name_and_a_dead_holder_is_not_waited_for(
    tmp_path: Path, holder: tuple[subprocess.Popen[str], int]
) -> None:
    """Two runs would overwrite each other; or a run killed on a cluster could not be started again."""
    process, worker = holder
    start = time.monotonic()
    with pytest.raises(UsageError) as refused:
        RunLock(tmp_path).acquire()
    assert time.monotonic() - start < 2
    assert f"process {process.pid} on host {socket.gethostname()}" in str(refused.value)
    assert refused.value.exit_code == 2
    process.kill()
    process.wait()
    os.kill(worker, 0)  # its loader worker lives on, as after a real kill -9
    with RunLock(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["process"] == os.getpid()


def test_trying_twice_in_one_process_does_not_lose_the_lock(tmp_path: Path) -> None:
    """The system drops a process's lock when it closes the file anywhere: others could then start beside it."""
    with RunLock(tmp_path):
        with pytest.raises(UsageError, match=f"process {os.getpid()}"):
            RunLock(tmp_path).acquire()
        other = python(TRY, tmp_path)
        _, error = other.communicate(timeout=60)
        assert f"process {os.getpid()} on host" in error
    RunLock(tmp_path).acquire()


def test_the_lock_of_a_run_that_died_on_another_host_is_taken_over_and_told(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(json.dumps({"process": 12, "host": "elsewhere", "since": "yesterday"}))
    told: list[str] = []
    with RunLock(tmp_path, report=told.append):
        pass
    assert len(told) == 1
    assert "process 12 on host elsewhere" in told[0]


@pytest.mark.parametrize("text", [b"", b"\xff\x00", b"[1]", b"{"])
def test_nonsense_in_the_lock_file_does_not_matter(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "lock").write_bytes(text)
    with RunLock(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LatentryError, match="cannot be written"):
        RunLock(tmp_path / "file" / "run").acquire()
