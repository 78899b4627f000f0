"""What a person watching a training sees: events as lines, and one line of progress that renews itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from latentry.training.loop.loop import Progress

EVERY = 10.0


class Watch:
    """Prints events, and progress: in place on a terminal, else a line at most every ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.live = stream, stream.isatty()
        self._shown, self._last = False, float("-inf")

    def say(self, text: str) -> None:
        """An event."""
        self._write(("\r\033[K" if self._shown else "") + text + "\n")
        self._shown = False

    def progress(self, now: Progress) -> None:
        """Where training is."""
        done = now.step >= now.steps
        if self.live:
            self._write("\r\033[K" + line(now) + ("\n" if done else ""))
            self._shown = not done
        elif done or time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            self._write(line(now) + "\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def line(now: Progress) -> str:
    """One line: stage, step, loss, speed, time left."""
    return (
        f"{now.stage}  step {now.step:,}/{now.steps:,}  loss {now.loss:.4g}  "
        f"{now.images_per_second:.3g} images/s  {duration(now.seconds_left)} left"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them: 45s, 12m30s, 3h05m."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
