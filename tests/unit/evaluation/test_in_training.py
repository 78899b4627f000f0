"""If these fail, measuring while it trains changes what is trained, ends a run, or is not in its log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentry.checkpoints.store import Store
from latentry.training.stages.diffusion.evaluator import Evaluator
from tests.e2e.small_runs import noise, run_tiny, write_images

ASKED = {"every": 1, "samples": 8, "features": ["own"], "metrics": ["fid", "mind"]}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_it_is_logged_and_changes_no_bit_of_the_weights_and_never_ends_a_run(tmp_path, monkeypatch):
    images = write_images(tmp_path / "images", noise(20, (16, 16, 3)))
    plain = run_tiny(tmp_path / "plain", images)
    measured = run_tiny(tmp_path / "measured", images, {"diffusion.train.evaluate": ASKED})
    rows = [json.loads(line) for line in (measured.path / "log.jsonl").read_text().splitlines()]
    found = [row["step"] for row in rows if any(name.startswith("FD[own first stage:") for name in row)]
    assert found == [1, 2]
    ours, theirs = (Store(run.path / "diffusion").newest() for run in (plain, measured))
    assert ours is not None
    assert theirs is not None
    for group in ours.groups:
        one, other = ours.tensors(group), theirs.tensors(group)
        assert all(one[name].equal(other[name]) for name in one)
    said = list[str]()
    monkeypatch.setattr(Evaluator, "__call__", lambda self: 1 / 0)
    run_tiny(tmp_path / "failing", images, {"diffusion.train.evaluate": ASKED}, report=said.append)
    assert sum("evaluation at step" in line and "training goes on" in line for line in said) == 2
