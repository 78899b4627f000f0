"""A number over steps in bounded memory, however long the training."""

from __future__ import annotations

MOST = 300
"""Points of a curve that are kept, besides the newest."""


class Curve:
    """Every so many points of those that were added, and always the newest."""

    def __init__(self) -> None:
        self._points: list[tuple[int, float]] = []
        self._every, self._added = 1, 0
        self._last: tuple[int, float] | None = None

    def add(self, step: int, value: float) -> None:
        """The next point."""
        self._last = (step, value)
        if self._added % self._every == 0:
            self._points.append(self._last)
        self._added += 1
        if len(self._points) > MOST:
            self._points = self._points[::2]
            self._every *= 2

    @property
    def points(self) -> list[tuple[int, float]]:
        """In the order of steps, at most `MOST` and the newest."""
        ends = [] if self._last is None or self._points[-1:] == [self._last] else [self._last]
        return [*self._points, *ends]
