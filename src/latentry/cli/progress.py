"""What a person watching a training sees: events as lines, and one line of progress that renews itself."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from latentry.training.loop.outlook import duration as duration

if TYPE_CHECKING:
    from latentry.training.loop.loop import Progress

EVERY = 10.0
UNITS = {"psnr": " dB", "held_out_psnr": " dB", "train_psnr": " dB"}


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

    def waiting(self, text: str) -> None:
        """What goes on while nothing else is said: on stderr, in place on a terminal."""
        live = self.live and sys.stderr.isatty()
        sys.stderr.write(("\r\033[K" if live else "") + text + ("" if live else "\n"))
        sys.stderr.flush()
        self._shown = self._shown or live

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def line(now: Progress) -> str:
    """One line: stage, step, how well it does, learning rate, speed, time left."""
    numbers = now.shown or {"loss": now.loss}
    well = "  ".join(f"{name.replace('_', ' ')} {value:.4g}{UNITS.get(name, '')}" for name, value in numbers.items())
    rate = "" if now.lr is None else f"  lr {now.lr:.3g}"
    return (
        f"{now.stage}  step {now.step:,}/{now.steps:,}  {well}{rate}  "
        f"{now.images_per_second:.3g} images/s  {duration(now.seconds_left)} left"
    )
