"""A request to stop: saved at the end of the step, then left. A second Ctrl-C leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType


class Stopped(SystemExit):
    """Training was asked to stop and has saved. `code` is 143 for SIGTERM, 130 for SIGINT."""


class StopRequest:
    """While entered, SIGTERM, SIGINT and SIGUSR1 (a scheduler's warning) only set `code`."""

    def __init__(self) -> None:
        self.code = 0
        self._old: dict[int, object] = {}

    def _set(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.code:
            os._exit(130)
        self.code = 130 if number == signal.SIGINT else 143

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                self._old[number] = signal.signal(number, self._set)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
