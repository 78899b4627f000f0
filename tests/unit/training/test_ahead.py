"""Draws made ahead are the draws: were they others, a resumed run would not be the unbroken one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentry import rng
from latentry.training.stages.ahead import Ahead
from latentry.training.stages.diffusion.draws import draw
from tests.unit.training.small_stages import first_stage, images, second_stage, train, weights

HOW = {"times": 1000, "conditioners": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


def test_what_is_foreseen_is_made_elsewhere_and_once() -> None:
    made: list[tuple[int, str]] = []

    def square(x: int) -> int:
        made.append((x, threading.current_thread().name))
        return x * x

    ahead = Ahead(square)
    ahead.foresee(3)
    ahead.foresee(3)
    assert [ahead(3), ahead(4)] == [9, 16]
    assert made[0][1] != threading.current_thread().name
    assert made[1] == (4, threading.current_thread().name)
    assert [x for x, _ in made] == [3, 4]


def test_what_was_foreseen_wrongly_is_forgotten() -> None:
    """A value kept for a step that never comes would stay in memory for the rest of a run."""
    ahead = Ahead(lambda x: x)
    ahead.foresee(1)
    assert ahead(2) == 2
    assert not ahead._coming


def test_an_error_is_raised_where_the_value_is_asked_for() -> None:
    ahead = Ahead(lambda x: 1 // x)
    ahead.foresee(0)
    with pytest.raises(ZeroDivisionError):
        ahead(0)


def test_rows_drawn_by_threads_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is what its generator gives by itself, whoever draws it."""
    monkeypatch.setattr(rng, "MANY", 1)
    monkeypatch.setattr(rng, "THREADS", 3)
    rows = [rng.generator(5, "noise", place, 2) for place in range(7)]
    drawn = rng.normal_of(rows, (4, 8, 8))
    again = [rng.generator(5, "noise", place, 2).standard_normal((4, 8, 8), dtype=np.float32) for place in range(7)]
    assert torch.equal(drawn, torch.from_numpy(np.stack(again)))


@pytest.mark.parametrize("posterior", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_what_is_not_used_changes_nothing_that_is(posterior: bool, together: bool) -> None:
    """A first stage of codes takes no noise of a posterior; its t, noise and chances stay those of all others."""
    everything = draw(0, "train", [3, 8], 7, (4, 4, 4), posterior=True, together=True, **HOW)
    some = draw(0, "train", [3, 8], 7, (4, 4, 4), posterior=posterior, together=together, **HOW)
    for name in ("t", "noise", "chances"):
        assert torch.equal(getattr(some, name), getattr(everything, name)), name
    assert torch.equal(some.chance_all, everything.chance_all if together else torch.ones(2))
    assert some.posterior is None if not posterior else torch.equal(some.posterior, everything.posterior)  # type: ignore[arg-type]


@pytest.mark.parametrize("build", [first_stage, second_stage])
def test_steps_are_the_same_with_nothing_foreseen(root: Path, monkeypatch: pytest.MonkeyPatch, build: Any) -> None:
    """Bit for bit, in several parts of a batch; and from the second step on all was foreseen."""
    foreseen = build(root, train__accumulate=2)
    misses: list[Any] = []
    function = foreseen.ahead.function
    train(foreseen, 1)

    def noted(*of: Any) -> Any:
        misses.append(threading.current_thread().name)
        return function(*of)

    foreseen.ahead.function = noted
    train(foreseen, 2, start=1)
    assert misses
    assert threading.current_thread().name not in misses
    monkeypatch.setattr(Ahead, "foresee", lambda *_: None)
    plain = build(root, train__accumulate=2)
    train(plain, 3)
    for name, weight in weights(plain).items():
        assert torch.equal(weight, weights(foreseen)[name]), name
