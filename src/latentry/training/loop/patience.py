"""How long the processes of a run wait for one another: one that is stopped or hangs ends the others, in time."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from datetime import timedelta
from typing import Any, NoReturn

import torch.distributed as dist

from latentry.errors import LatentryError, UsageError, shown

VARIABLE = "LATENTRY_GROUP_TIMEOUT"
"""Of the environment: seconds that the others wait for a process that does nothing."""
SECONDS = 600.0
FOR_EVER = timedelta(days=7)
"""For torch, whose own limit would also end a wait for a process that is at work, such as rank 0 at its figures."""
LOST = 75  # the exit code: the system's for a failure that may be gone the next time
KEY = "latentry/at work"
AT_WORK = 0.02  # share of a processor
WAITING = (os.path.join("torch", "distributed", ""), os.path.join("training", "loop", "world.py"))  # noqa: PTH118


class ProcessLost(LatentryError):
    """Another process of the run is gone. Exit code 75: the same command goes on."""

    exit_code = LOST


def limit() -> float:
    """Seconds, as the environment says. Raises UsageError for what is not a number above 0."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f'{VARIABLE}: found "{shown(text)}"; accepted: seconds, a number above 0. Set it to 600, say.')
    return seconds


def is_lost(error: BaseException) -> bool:
    """Whether an error says that another process is gone."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and ("gloo" in text or "nccl" in text))


def lost(rank: int, size: int, why: str) -> ProcessLost:
    """The error of a process that is left alone."""
    return ProcessLost(
        f"process {rank} of {size}: {why}. Ended with exit code {LOST}; what was saved is whole, and the same command "
        "goes on from there."
    )


def leave() -> NoReturn:
    """End this process at once: closing a group that lacks a process waits, or aborts in the middle of a library."""
    for worker in multiprocessing.active_children():
        worker.kill()
    os._exit(LOST)


class Watch(threading.Thread):
    """Beside a process of several: ends it when it has waited for the others for `seconds` and none of them works.

    Each process that works, rather than waits for the others, counts up a number that all can see; what works and what
    waits is seen from outside, so that nothing has to say how long it will take.
    """

    def __init__(self, rank: int, size: int, seconds: float) -> None:
        super().__init__(daemon=True, name="watch over the other processes")
        self.rank, self.size, self.seconds = rank, size, seconds
        self.watched, self.ended = threading.get_ident(), threading.Event()
        self.steps = 0  # counted up by every wait that came to its end
        self.at_work, self.seen = 0, time.monotonic()
        self.alone = False  # whether a process is known to be gone
        self._pulse = threading.Thread(target=self._tell, daemon=True, name="pulse")
        self._store: Any = None

    def connect(self) -> None:
        """Begin to tell the others, and to be told: once the group is there."""
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self._store = dist.TCPStore(  # type: ignore[attr-defined]
            host, port, is_master=False, wait_for_workers=False
        )
        self._pulse.start()

    def end(self) -> None:
        """Before this process ends."""
        self.ended.set()
        for thread in (self, self._pulse):
            if thread.is_alive():
                thread.join(2.0)

    def run(self) -> None:
        """Look several times within the limit."""
        pause, since, steps = min(1.0, self.seconds / 5), time.monotonic(), self.steps
        while not self.ended.wait(pause):
            if not self.waits() or self.steps != steps:
                since, steps = time.monotonic(), self.steps
            elif time.monotonic() - max(since, self.seen) > self.seconds:
                self._leave()

    def waits(self) -> bool:
        """Whether the process waits for the others."""
        frame = sys._current_frames().get(self.watched)
        while frame is not None:
            if any(place in frame.f_code.co_filename for place in WAITING):
                return True
            frame = frame.f_back
        return False

    def _tell(self) -> None:
        """In a thread of its own, since the store may not answer."""
        pause, used = min(1.0, self.seconds / 5), time.process_time()
        while not self.ended.wait(pause):
            before, used = used, time.process_time()
            works = not self.waits() and used - before > AT_WORK * pause
            try:
                now = self._store.add(KEY, int(works))
            except Exception:  # the one who keeps it is gone, which the next wait will show
                return
            if now != self.at_work:
                self.at_work, self.seen = now, time.monotonic()

    def _leave(self) -> None:
        """No exception reaches a thread that waits in the middle of a library."""
        why = f"no other process of this run has done anything for {self.seconds:g} s, the limit {VARIABLE}"
        os.write(2, f"error: {lost(self.rank, self.size, why + '; one is stopped, hangs or is gone')}\n".encode())
        leave()
