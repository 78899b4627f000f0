"""A request to stop: training saves at the end of its step, then leaves. A second Ctrl-C leaves at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from latentry.interrupts import deliver, heeded

LAUNCHER = 2.0  # seconds in which a second Ctrl-C may be the first one, passed on
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143}


class Stopped(SystemExit):
    """Training was asked to stop. `code` is 143 for SIGTERM or a scheduler's warning (SIGUSR1), 130 for SIGINT."""


class Interrupted(Exception):
    """A look at the training was broken off because it is to stop, or its time is over. share: of it that was done."""

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        self.share = share


class StopRequest:
    """While entered, a signal to stop raises `Stopped`; inside `deferred` it only sets `code`, for the loop to see.

    launched: by torchrun or the like, which passes on a Ctrl-C that the terminal has already sent to every process.
    Signals that the program's starter had set to be ignored stay so. Does nothing outside of the main thread, which
    alone is given signals.
    """

    def __init__(self, launched: bool = False) -> None:
        self.code, self.patience = 0, LAUNCHER if launched else 0.0
        self._since, self._deferred = 0.0, False

    @contextmanager
    def entered(self, at_once: Callable[[], None] = lambda: None) -> Iterator[StopRequest]:
        """Take the signals for the length of a `with`. at_once: called when it is left by one, outside `deferred`."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        _entered.append(self)
        old = {number: signal.signal(number, self._set) for number in filter(heeded, CODES)}
        try:
            yield self
        except _Now as stop:
            at_once()
            raise Stopped(stop.code) from None
        finally:
            _entered.pop()
            for number, handler in old.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """For the length of a `with` only `code` is set; at its end the request is obeyed."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.code:
            raise _Now(self.code)

    def _set(self, number: int, frame: FrameType | None) -> None:
        if not self.code:
            self.code, self._since = CODES[signal.Signals(number)], time.monotonic()
            if not self._deferred:
                deliver(self._stop, frame)
        elif number == signal.SIGINT and time.monotonic() - self._since >= self.patience:
            for worker in multiprocessing.active_children():
                worker.kill()
            os._exit(130)

    def _stop(self) -> BaseException | None:
        """Nothing where a loop, which sees `code` itself, has begun meanwhile, or the training is over."""
        return None if self._deferred or self not in _entered else _Now(self.code)


class _Now(Stopped):
    """Between the stages there is nothing to save: left where it is."""


_entered: list[StopRequest] = []
_deadlines: list[float] = []


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """For the length of a `with`, `check_stop` raises Interrupted once so many seconds are over."""
    _deadlines.append(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadlines.pop()


def check_stop(share: float = 0.0) -> None:
    """Called now and then by whatever takes long and may be left for later: raises Interrupted if a stop is wanted.

    share: of the work that is done.
    """
    late = bool(_deadlines) and time.monotonic() > min(_deadlines)
    if late or any(request.code for request in _entered):
        raise Interrupted(share)
