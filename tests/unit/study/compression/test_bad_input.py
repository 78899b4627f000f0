"""If these fail, a mistake costs a night of training, is told by a traceback, or leaves half a study behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentry.cli import run
from latentry.nn import weights
from latentry.study.compression import costs
from tests.e2e import small_runs
from tests.unit.study.compression.planted import CHANGES, COSTS, images


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "located", lambda name: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(costs, "measured", lambda plan, _: COSTS[2])


def command(root: Path, *words: object, data: Path | None = None) -> int:
    recipe = small_runs.recipe(root, CHANGES)
    named = ["--data", data or images(root / "images"), "--recipe", recipe, "--parameters", 60_000]
    given = [*(named if "--recipe" not in words else []), "--device", "cpu", *words]
    return run(["study", "compression", *map(str, given), "--out", str(root / "study")])


CASES = {
    "unknown factors": (["--factors", "1,3,5"], "factors: found 3, 5; accepted: 1, 2, 4, 8, 16, 32"),
    "no numbers": (["--factors", "1,two"], '--factors: found "1,two"; accepted: whole numbers with commas'),
    "one factor": (["--factors", "4,4"], "factors: found 1; a comparison needs at least two of"),
    "do not divide": (
        ["--factors", "1,32"],
        "--factors: found 32 for images of 16x16; accepted: 1, 2, 4, 8, 16, which",
    ),
    "small budget": (
        ["--factors", "1,2", "--budget", "0.01"],
        "--budget: found 0.01 minutes; on this machine 2 factors",
    ),
    "no budget": (["--budget", "0"], "budget: "),
    "few samples": (["--samples", "3"], "samples: "),
    "no steps": (["--steps", "0"], "steps"),
    "no recipe": (["--recipe", "shape"], 'recipe: no "shape"; known: '),
    "no data": (["--recipe", "small-64"], "--data: recipe small-64 draws no images of its own; name the folder"),
    "no folder": (["--factors", "1,2", "--data", "nowhere"], "--data nowhere: no such folder"),
    "no held-out": (["--factors", "1,2", "data.held_out=0"], "0 images are held out; a study needs 16"),
    "unknown change": (["diffusion.train.step=3"], "diffusion.train.step"),
    "too small": (["--factors", "1,2", "--parameters", "10000"], "--parameters: found 10,000; no networks come within"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_line_and_nothing_is_written(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, line = CASES[case]
    assert command(tmp_path, *words) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert line in told[0]
    assert not (tmp_path / "study").exists()
    assert not list(tmp_path.glob(".study*"))


def test_too_few_images_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "--factors", "1,2", data=images(tmp_path / "few", 20)) == 2
    assert "images to train on; a study needs 64. Add some." in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the way, or a folder that is no study."""
    (tmp_path / "study").write_text("")
    assert command(tmp_path) == 2
    assert "already exists and is no study; name a new folder" in capsys.readouterr().err
    (tmp_path / "study").unlink()
    (tmp_path / "study").mkdir()
    assert command(tmp_path) == 2
    assert list((tmp_path / "study").iterdir()) == []


def test_a_study_in_its_own_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its sheets would become training images."""
    assert command(tmp_path, "--factors", "1,2", data=_in(tmp_path)) == 2
    assert "lies in the data folder" in capsys.readouterr().err


def _in(root: Path) -> Path:
    images(root)
    return root
