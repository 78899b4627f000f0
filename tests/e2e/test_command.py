"""`latentry train` as a process among others: signals, its lock, its exit codes. Times are limits, so it runs alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from latentry.checkpoints import Store
from tests.e2e import tiny

pytestmark = pytest.mark.alone
PATIENCE = 300.0

SLOW_SAVE = """
import pathlib, time
from latentry.checkpoints.store import Store

def save(self, *args):
    pathlib.Path(__file__).with_name("saving").touch()
    time.sleep(60)

Store.save = save
"""

FULL_DISK = """
import errno, os
from latentry.checkpoints import durable

def write(path, parts, real=durable.write):
    if path.parent.name == "step-10.tmp" and path.name == "model.safetensors":
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real(path, parts)

durable.write = write
"""


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    for process in STARTED:
        process.kill()
        process.wait()
    STARTED.clear()


class Command:
    """A running `latentry train` of a run too long to end by itself."""

    def __init__(self, folder: Path, *more: str, out: str = "run") -> None:
        recipe = tiny.write_recipe(folder / "tiny.yaml", tiny.recipe(steps=100_000))
        if not (folder / "data").exists():
            tiny.write_data(folder / "data")
        self.out = folder / out
        self.errors = folder / f"{out}.errors"
        command = [sys.executable, "-m", "latentry", "train", str(recipe), "autoencoder.train.workers=2"]
        command += ["--data", str(folder / "data"), "--out", str(self.out), *more]
        self.rows = self.count()
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        STARTED.append(self.process)

    def count(self) -> int:
        log = self.out / "log.jsonl"
        return log.read_bytes().count(b"\n") if log.exists() else 0

    def until(self, there: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not there():
            assert time.monotonic() < end, "waited in vain"
            assert self.process.poll() is None, self.errors.read_text()
            time.sleep(0.01)

    def until_it_trains(self) -> list[int]:
        """Its loader workers."""
        self.until(lambda: self.count() > self.rows)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if not children.exists():
            pytest.skip("this system does not tell which processes belong to another")
        return [int(pid) for pid in children.read_text().split()]

    def send(self, number: int, most: float) -> int:
        """The exit status after a signal, which must come within so many seconds."""
        most *= busy()
        started = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        assert time.monotonic() - started < most
        return status


def busy() -> float:
    """How many times longer work takes now than on a quiet machine, at least 1."""
    started, used = time.monotonic(), time.process_time()
    sum(range(3_000_000))
    return max(1.0, (time.monotonic() - started) / max(time.process_time() - used, 1e-3))


def alive(processes: list[int]) -> list[int]:
    """Those that are there, and not only waiting for somebody to ask for their exit status."""
    found = []
    for pid in processes:
        with suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX":
                found.append(pid)
    return found


def gone(processes: list[int], within: float) -> bool:
    end = time.monotonic() + within * busy()
    while alive(processes) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(processes)


def test_one_run_in_a_folder_from_its_start_to_kill_9_and_sigterm(tmp_path: Path) -> None:
    first = Command(tmp_path)
    orphans = first.until_it_trains()
    assert len(orphans) == 2
    most, started = 2.0 * busy(), time.monotonic()
    second = Command(tmp_path)
    assert second.process.wait(PATIENCE) == 2
    assert time.monotonic() - started < most
    assert f"process {first.process.pid} on host {os.uname().nodename}" in second.errors.read_text()
    assert len(second.errors.read_text().splitlines()) == 1

    first.send(signal.SIGKILL, most=1.0)
    third = Command(tmp_path)
    workers = third.until_it_trains()
    assert third.send(signal.SIGTERM, most=5.0) == 143
    assert gone(workers, within=0.5), "loader workers outlive the training"
    assert gone(orphans, within=10.0), "loader workers outlive a killed training"
    assert third.errors.read_text() == ""
    saved = Store(third.out / "autoencoder").newest()
    assert saved is not None
    said = third.process.stdout.read() if third.process.stdout else ""
    assert f"stopped; saved at step {saved.step}" in said


def test_ctrl_c_saves_and_a_second_one_leaves_at_once(tmp_path: Path) -> None:
    run = Command(tmp_path)
    workers = run.until_it_trains()
    assert run.send(signal.SIGINT, most=5.0) == 130
    assert gone(workers, within=0.5)
    saved = Store(run.out / "autoencoder").steps()
    assert saved

    (tmp_path / "slow.py").write_text(SLOW_SAVE)
    run = Command(tmp_path, "autoencoder.train.save_every=1000000", "--plugin", str(tmp_path / "slow.py"))
    workers = run.until_it_trains()
    run.process.send_signal(signal.SIGINT)
    run.until((tmp_path / "saving").exists)
    assert run.send(signal.SIGINT, most=1.0) == 130
    assert gone(workers, within=0.5), "loader workers outlive the training"
    assert Store(run.out / "autoencoder").steps() == saved


def test_a_full_disk_ends_with_74_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "full.py").write_text(FULL_DISK)
    run = Command(tmp_path, "--plugin", str(tmp_path / "full.py"))
    assert run.process.wait(PATIENCE) == 74
    (line,) = run.errors.read_text().splitlines()
    assert "step-10: not written, the disk is full" in line
    assert Store(run.out / "autoencoder").steps() == [5]
