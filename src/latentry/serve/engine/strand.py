"""A function that can be suspended anywhere inside, as a solver is in the middle of a step, at its network call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_here = threading.local()


def current() -> Strand | None:
    """The strand that this code runs in."""
    return getattr(_here, "strand", None)


class Strand:
    """A coroutine made of a thread: it runs only inside `go_on`, and stands still in `ask`.

    A generator can be suspended only where itself yields, and the network is called many frames further in, by code
    that is to know nothing of serving. Only one thread ever runs, so nothing needs a lock.
    """

    def __init__(self, function: Callable[[Strand], None]) -> None:
        self._function = function
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._asked: Any = None
        self._answer: Any = None
        self._raise: BaseException | None = None
        self.error: BaseException | None = None
        self.ended = False
        self._thread = threading.Thread(target=self._run, name="strand", daemon=True)

    def go_on(self, answer: Any = None, *, error: BaseException | None = None) -> Any:
        """Let it run until it asks again: what it asks for, or None at its end.

        answer: what its `ask` gives. error: what its `ask` raises instead. Raises what ended it.
        """
        self._answer, self._raise, self._asked = answer, error, None
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._turn.release()
        self._back.acquire()
        if self.error is not None:
            raise self.error
        return self._asked

    def ask(self, question: Any) -> Any:
        """Inside of it: stand still until there is an answer."""
        self._asked = question
        self._back.release()
        self._turn.acquire()
        if self._raise is not None:
            raise self._raise
        return self._answer

    def _run(self) -> None:
        _here.strand = self
        try:
            self._function(self)
        except BaseException as error:  # is raised in `go_on`
            self.error = error
        finally:
            self.ended = True
            self._back.release()
