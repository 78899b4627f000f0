"""Say what is being done every few seconds, where a step takes longer than a person likes to wait in silence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

EVERY = 5.0
"""Seconds."""


class Waiting:
    """While entered, calls `say` every few seconds with what is being done and for how long, from a thread of its own.

    head: what each line begins with.
    """

    def __init__(self, say: Callable[[str], None], head: str) -> None:
        self.say, self.head = say, head
        self._what, self._since = "", time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="waiting", daemon=True)

    def doing(self, what: str, still: bool = False) -> None:
        """What is done from now on, such as "autoencoder: timing step 1". still: it is what was done already."""
        self._what = what
        if not still:
            self._since = time.monotonic()

    def __enter__(self) -> Waiting:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            if self._what:
                self.say(f"{self.head}: {self._what} ({time.monotonic() - self._since:.0f}s)")
