"""Values of a pure function made before they are asked for, beside the work on the device."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Ahead(Generic[Value]):
    """`function`, of which values can be foreseen: a thread makes them meanwhile.

    function: pure, of hashable arguments; it runs in another thread. Foreseen or not, its values are the same, so what
    is foreseen wrongly, as after a resume, costs time alone. An error is raised where the value is asked for.
    """

    def __init__(self, function: Callable[..., Value]) -> None:
        self.function = function
        self._thread: ThreadPoolExecutor | None = None
        self._coming: dict[tuple[Hashable, ...], Future[Value]] = {}

    def foresee(self, *arguments: Hashable) -> None:
        """Begin to make the value of these arguments, unless it is being made."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        if arguments not in self._coming:
            self._coming[arguments] = self._thread.submit(self.function, *arguments)

    def __call__(self, *arguments: Hashable) -> Value:
        """The value of these arguments; it is kept no longer, and nothing is where it was not foreseen."""
        coming = self._coming.pop(arguments, None)
        if coming is not None:
            return coming.result()
        for wrong in self._coming.values():
            wrong.cancel()
        self._coming.clear()
        return self.function(*arguments)
