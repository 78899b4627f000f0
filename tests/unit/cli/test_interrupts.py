"""If these fail, Ctrl-C in a command's first seconds is lost, ends in a traceback, or leaves half a file."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e import small_runs

TAKEN = 1 << (signal.SIGTERM - 1)
DELAYS = (0.0, 0.05, 0.1, 0.3, 0.6, 1.0, 1.6)
linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="sees in /proc when signals are taken")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.write_images(tmp_path_factory.mktemp("data"), small_runs.noise(8, (16, 16, 3)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return small_runs.run_tiny(tmp_path_factory.mktemp("model"), data).path / "model"


def start(words: list[str], **how: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "latentry", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, start_new_session=True, **pipes, **how)  # type: ignore[call-overload]


def until_it_takes_signals(process: subprocess.Popen[str]) -> None:
    """Before that Python itself is starting, and nothing of this program runs."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if int(status.split("SigCgt:")[1].split()[0], 16) & TAKEN:
            return
        time.sleep(0.001)
    pytest.fail("does not take SIGTERM")


@linux
@pytest.mark.soak
@pytest.mark.parametrize("command", ["train", "sample"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_at_every_moment(tmp_path: Path, data: Path, model: Path, command: str, number: int) -> None:
    """Two seconds in steps of 25 milliseconds."""
    for turn in range(80):
        folder = tmp_path / str(turn)
        test_a_signal_from_the_first_line_on(folder, data, model, command, turn * 0.025, number)


@linux
@pytest.mark.parametrize("command", ["train", "sample"])
@pytest.mark.parametrize(("delay", "number"), list(zip(DELAYS, itertools.cycle((signal.SIGINT, signal.SIGTERM)))))
def test_a_signal_from_the_first_line_on(
    tmp_path: Path, data: Path, model: Path, command: str, delay: float, number: int
) -> None:
    """During the imports, while the plan is made, or in the first steps: one exit code, no traceback, never lost."""
    long = {
        f"{stage}.train.{what}": 10**6 for stage in ("autoencoder", "diffusion") for what in ("steps", "save_every")
    }
    words = ["train", small_runs.recipe(tmp_path, long), "--data", str(data), "--out", str(tmp_path / "run")]
    if command == "sample":
        words = ["sample", str(model), "--out", str(tmp_path / "out"), "-n", "64", "--steps", "1000"]
    process = start(words)
    try:
        until_it_takes_signals(process)
        time.sleep(delay)
        process.send_signal(number)
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == (130 if number == signal.SIGINT else 143), errors
    assert "Traceback" not in said + errors
    assert len(errors.splitlines()) <= 1


def delivered(code: str) -> subprocess.CompletedProcess[str]:
    begin = "import os, signal, sys, time\nfrom latentry import interrupts\ninterrupts.take()\n"
    command = [sys.executable, "-c", begin + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


ME = "os.kill(os.getpid(), signal.SIGINT)"


@pytest.mark.parametrize(
    "swallowed",
    [
        f"class Late:\n  def __del__(self): {ME}\nwith interrupts.working(): Late(); time.sleep(30)",
        f"interrupts.GRACE = 0.3\nwith interrupts.working():\n"
        f"  try: {ME}\n  except BaseException: pass\n  time.sleep(30)",
    ],
    ids=["in a finaliser", "by a library"],
)
def test_an_interrupt_that_somebody_swallows_is_not_lost(swallowed: str) -> None:
    """Python drops what is raised in `__del__`; `except:` without a name catches everything."""
    done = delivered(swallowed)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_an_interrupt_during_an_import_waits_for_its_end(tmp_path: Path) -> None:
    """Half of torch would be left; a second import of it ends in an error about something else."""
    (tmp_path / "slow.py").write_text(f"import os, signal\n{ME}\ndone = True\n")
    code = (
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "with interrupts.working():\n  try:\n    import slow; time.sleep(30)\n  finally: print(slow.done)"
    )
    done = delivered(code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "True\n", "")


@pytest.mark.parametrize("late", ["the end of the grace", "a second signal"])
def test_a_program_that_leaves_slowly_says_so_once(late: str) -> None:
    """On a busy machine Python takes its time to end: one line of the command, then one of the alarm."""
    grace, end = (0.3, "time.sleep(30)") if late == "the end of the grace" else (30, f"{ME}; time.sleep(30)")
    code = (
        f"from latentry import cli\ninterrupts.GRACE = {grace}\n"
        f"def work(**_):\n  with interrupts.working(): {ME}; time.sleep(30)\n"
        f"def end():\n  {end}\n"
        "import atexit; atexit.register(end); cli.commands = lambda: work; cli.main([])"
    )
    done = delivered(code)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def test_what_is_under_way_is_cleaned_up() -> None:
    """An export leaves its half folder behind otherwise."""
    done = delivered(f"with interrupts.working():\n  try: {ME}; time.sleep(30)\n  finally: print('cleaned')")
    assert (done.returncode, done.stdout) == (130, "cleaned\n")


def test_a_signal_that_the_starter_ignores_stays_ignored(tmp_path: Path) -> None:
    """A shell does so for jobs in the background: Ctrl-C for another job does not end them. SIGTERM still does."""
    code = (
        f"from latentry.training.loop.signals import StopRequest\n{ME}\nwith StopRequest().entered(): {ME}\nprint('on')"
    )
    quiet = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = delivered(code + "\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)")
    finally:
        signal.signal(signal.SIGINT, quiet)
    assert (done.returncode, done.stdout) == (143, "on\n")
