"""One request on its way through the engine, and who is told of it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from latentry.pipeline.output import Output

State = Literal["queued", "running", "completed", "failed", "cancelled"]
ENDS = ("completed", "failed", "cancelled")


class Cancelled(Exception):
    """The request is no longer wanted."""


class Unavailable(Exception):
    """The server stops before the request could be done."""


@dataclass(frozen=True)
class Event:
    """What happened: `step`, `preview` (images (B, C, H, W) in [0, 1], from `first` on), or a new state."""

    kind: str
    ticket: Ticket
    number: int = 0
    images: Tensor | None = None
    first: int = 0


Listener = Callable[[Event], None]


@dataclass(eq=False)
class Ticket:
    """A task and its checked options, as keywords. key: whose it is. previews: how many are wanted on the way.

    images: how many at once, about, for the queue. done, total: network evaluations.
    """

    key: str
    model: str
    task: str
    options: dict[str, Any]
    images: int = 1
    previews: int = 0
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    state: State = "queued"
    done: int = 0
    total: int = 0
    output: Output | None = None
    error: BaseException | None = None
    began: float = 0.0
    wanted: bool = True
    _listeners: list[Listener] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def seconds_left(self) -> float | None:
        """By the steps so far."""
        if self.state != "running" or not self.done:
            return None
        return (time.monotonic() - self.began) / self.done * (self.total - self.done)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDS

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell it of all that happens from now on, and at once how it stands; what is returned ends that."""
        with self._lock:
            self._listeners.append(listener)
            listener(Event(self.state, self))
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def tell(self, kind: str, number: int = 0, images: Tensor | None = None, first: int = 0) -> None:
        """An event for those who listen."""
        with self._lock:
            for listener in list(self._listeners):
                listener(Event(kind, self, number, images, first))

    def become(self, state: State, *, output: Output | None = None, error: BaseException | None = None) -> None:
        """A new state."""
        with self._lock:
            self.state, self.output, self.error = state, output, error
            if state == "running":
                self.began = time.monotonic()
            for listener in list(self._listeners):
                listener(Event(state, self))
