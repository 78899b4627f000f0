"""A request to stop: training saves at the end of its step, then leaves. A second Ctrl-C leaves at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143}


class Stopped(SystemExit):
    """Training was asked to stop. `code` is 143 for SIGTERM or a scheduler's warning (SIGUSR1), 130 for SIGINT."""


class Interrupted(Exception):
    """A look at the training was broken off because it is to stop."""


class StopRequest:
    """While entered, a signal to stop raises `Stopped`; inside `deferred` it only sets `code`, for the loop to see.

    Does nothing outside of the main thread, which alone is given signals.
    """

    def __init__(self) -> None:
        self.code = 0
        self._deferred = False

    @contextmanager
    def entered(self) -> Iterator[StopRequest]:
        """Take the signals for the length of a `with`."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        _entered.append(self)
        old = {number: signal.signal(number, self._set) for number in CODES}
        try:
            yield self
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
            raise Stopped(self.code)

    def _set(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.code:
            for worker in multiprocessing.active_children():
                worker.kill()
            os._exit(130)
        again, self.code = bool(self.code), self.code or CODES[signal.Signals(number)]
        if not self._deferred and not again:
            raise Stopped(self.code)


_entered: list[StopRequest] = []


def check_stop() -> None:
    """Called now and then by whatever takes long and may be left for later: raises Interrupted if a stop is wanted."""
    if any(request.code for request in _entered):
        raise Interrupted
