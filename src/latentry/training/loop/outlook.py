"""How long a stage will take: said once, after its first seconds of steps."""

from __future__ import annotations

import time

AFTER = 10.0
"""Seconds of steps, beyond the first step, after which it is said."""
DAY = 24 * 3600.0
ON_CPU = (
    "On a CPU that is long: take a GPU (--device cuda), the recipe small-64, which is made for a CPU, a smaller "
    "data.size, or fewer steps."
)
"""What to do where a training is to take more than a day without a GPU."""


def duration(seconds: float) -> str:
    """Seconds as people say them: 45s, 12m30s, 3h05m, 5d02h."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d{hours % 24:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


class Outlook:
    """Measures steps from `first` on, without the first of them, which prepares much.

    steps: the last step. device: the type of the device, such as "cpu".
    """

    def __init__(self, first: int, steps: int, batch: int, device: str) -> None:
        self.first, self.steps, self.batch, self.device = first, steps, batch, device
        self.since, self.done = 0.0, False

    def after(self, step: int) -> str | None:
        """Called after each step: the one line, when it is time for it."""
        if self.done:
            return None
        if step == self.first + 1:
            self.since = time.monotonic()
            return None
        elapsed = time.monotonic() - self.since
        if elapsed < AFTER:
            return None
        self.done = True
        each = elapsed / (step - self.first - 1)
        left = each * (self.steps - step)
        text = f"about {duration(left)} for the {self.steps - step:,} steps left, at {self.batch / each:.3g} images/s"
        return f"{text}. {ON_CPU}" if self.device == "cpu" and left > DAY else text
