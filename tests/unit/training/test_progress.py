"""If these fail, a person sees nothing for minutes where steps are slow, or wrong speeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentry.training.loop import loop as fit
from latentry.training.loop.loop import Clock, Progress
from tests.e2e.small_runs import noise, run_tiny, write_images


@pytest.mark.parametrize(("every", "expected"), [(0.0, [1, 2, 3, 4, 5]), (1e9, [4, 5])])
def test_progress_is_told_when_logged_and_while_steps_are_slow(every, expected, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(fit, "SHOWN_EVERY", every)
    data = write_images(tmp_path / "data", noise(4, (16, 16, 3)))
    changes = {"autoencoder.train.steps": 5, "autoencoder.train.log_every": 4}
    told: list[Progress] = []
    run_tiny(tmp_path, data, changes, stage="autoencoder", progress=told.append)
    assert [now.step for now in told] == expected
    assert all(now.loss > 0 and now.images_per_second > 0 and now.seconds_left >= 0 for now in told)
    assert {(now.stage, now.steps) for now in told} == {("autoencoder", 5)}


def test_a_look_between_does_not_begin_a_new_interval(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    clock = Clock(0)
    now[0] = 102.0
    assert clock.peek(4, batch=8, steps=10) == (16.0, 3.0)
    now[0] = 104.0
    assert clock.look(5, batch=8, steps=10) == (10.0, 4.0)
    now[0] = 105.0
    assert clock.peek(7, batch=8, steps=10)[0] == 16.0
