"""If these fail, a run of several processes waits for ever for one that is stopped, or ends because one is at work."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentry.errors import UsageError
from latentry.training.loop import patience
from tests.e2e import small_runs

LIMIT = 3.0
AT_WORK = f"""
import time
from latentry.training.stages.autoencoder.stage import AutoencoderStage

def validate(self, step):
    end = time.monotonic() + {2.5 * LIMIT}
    while time.monotonic() < end:
        sum(range(100_000))
    return {{}}

AutoencoderStage.validate = validate
"""


class Pair:
    """Two processes of one run, started without torchrun, which would end the second one itself."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "run"
        self.data = small_runs.write_images(folder / "data", small_runs.noise(8, (16, 16, 3)))
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, steps: int, *more: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        every = {f"{stage}.train.steps": steps for stage in ("autoencoder", "diffusion")}
        recipe = small_runs.recipe(self.folder, every)
        words = ["-m", "latentry", "train", recipe, "--data", str(self.data), "--out", str(self.out), *more]
        for rank in "01":
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, patience.VARIABLE: str(LIMIT)}
            environment = {**os.environ, **place, "LATENTRY_DEVICE": "cpu"}
            pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
            self.processes.append(
                subprocess.Popen([sys.executable, *words], env=environment, text=True, **pipes)  # type: ignore[call-overload]
            )

    def until_it_trains(self) -> None:
        log, end = self.out / "log.jsonl", time.monotonic() + 120
        while not log.exists():
            assert time.monotonic() < end
            assert all(process.poll() is None for process in self.processes)
            time.sleep(0.1)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("rank", "number"),
    [
        (0, signal.SIGSTOP),
        (1, signal.SIGKILL),
        pytest.param(1, signal.SIGSTOP, marks=pytest.mark.soak),
        pytest.param(0, signal.SIGKILL, marks=pytest.mark.soak),
    ],
)
def test_the_other_process_ends_in_time_and_says_why(pair: Pair, rank: int, number: int) -> None:
    """Rank 0 keeps what the two tell each other: it must not be needed for that."""
    pair.start(100_000)
    pair.until_it_trains()
    pair.processes[rank].send_signal(number)
    started, other = time.monotonic(), pair.processes[1 - rank]
    _, errors = other.communicate(timeout=90)
    assert time.monotonic() - started < 8 * LIMIT
    assert other.returncode == patience.LOST
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert f"process {1 - rank} of 2" in line
    assert f"exit code {patience.LOST}" in line
    assert "Traceback" not in errors
    if number == signal.SIGSTOP:
        assert f"for {LIMIT:g} s, the limit {patience.VARIABLE}" in line


def test_long_work_of_rank_0_alone_does_not_end_the_others(pair: Pair) -> None:
    """Validation, samples, figures, saves: they may take longer than the limit, which is for those that do nothing."""
    plugin = pair.folder / "slow.py"
    plugin.write_text(AT_WORK)
    pair.start(1, "--stage", "autoencoder", "--plugin", str(plugin))
    for process in pair.processes:
        _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors


@pytest.mark.parametrize("text", ["0", "-1", "ten", "nan", "inf", "1e999"])
def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(patience.VARIABLE, text)
    with pytest.raises(UsageError, match=patience.VARIABLE):
        patience.limit()


def test_errors_of_a_lost_peer_are_told_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of ours in a step must keep its traceback."""

    def says(text: str) -> bool:
        return patience.is_lost(RuntimeError(text))

    assert says("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1234")
    assert not says("mat1 and mat2 shapes cannot be multiplied")
    monkeypatch.delenv(patience.VARIABLE, raising=False)
    assert patience.limit() == patience.SECONDS
