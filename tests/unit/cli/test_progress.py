"""If these fail, a person watching a training is told the wrong time, or a log file fills with progress lines."""

from __future__ import annotations

import io

import pytest

from latentry.cli import progress
from latentry.training.loop.loop import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at(step: int) -> Progress:
    return Progress("autoencoder", step, 2000, 0.123456, 33.333, 3725.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.6, "1m00s"), (754, "12m34s"), (11_110, "3h05m"), (-1, "0s")]
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def test_a_terminal_has_one_line_that_renews_itself():
    screen = Terminal()
    watch = progress.Watch(screen)
    watch.progress(at(1))
    watch.progress(at(2))
    watch.say("saved")
    watch.progress(at(2000))
    shown = [part.rpartition("\r\033[K")[2] for part in screen.getvalue().split("\n")]
    assert shown == ["saved", "autoencoder  step 2,000/2,000  loss 0.1235  33.3 images/s  1h02m left", ""]


def test_a_file_gets_a_line_now_and_then_and_the_last(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    file = io.StringIO()
    watch = progress.Watch(file)
    for step in range(1, 101):
        now[0] += 0.5
        watch.progress(at(step))
    watch.progress(at(2000))
    lines = file.getvalue().splitlines()
    assert len(lines) == 6
    assert "\r" not in file.getvalue()
    assert "step 2,000/2,000" in lines[-1]
