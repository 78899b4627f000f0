"""If these fail, the best checkpoint is lost, another is called so, or a resumed run keeps another than a whole one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import latentry as lt
from latentry import config
from latentry.checkpoints.best import Best, beaten
from latentry.checkpoints.run_status import run_status
from latentry.checkpoints.store import Store
from latentry.cli import run as command
from latentry.errors import UsageError
from latentry.evaluation.measure.names import score_of
from latentry.metrics.compare import Figure
from latentry.training.recipe.evaluate import TrainingEvaluation
from latentry.training.stages.diffusion.evaluator import Evaluator
from tests.e2e.small_runs import noise, run_tiny, write_images

ASKED = {"every": 1, "samples": 8, "features": ["own"], "metrics": ["fid"], "keep_best": "fid"}
SCORES = [5.0, 3.0, 4.0, 3.5, 6.0]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def scored(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    left = list(scores)

    def measure(self: Evaluator) -> dict[str, float]:
        self.score = ("FD[own]", left.pop(0))
        return {"FD[own]": self.score[1]}

    monkeypatch.setattr(Evaluator, "__call__", measure)


def test_the_best_checkpoint_stays_also_over_a_resume_and_is_opened_by_its_name(tmp_path, monkeypatch, capsys):
    images = write_images(tmp_path / "images", noise(6, (16, 16, 3)))
    how = {"diffusion.train.evaluate": ASKED, "diffusion.train.keep": 1, "diffusion.train.save_every": 100}
    kept = {}
    for name, legs in (("whole", [5]), ("broken", [3, 5])):
        scored(monkeypatch, SCORES)
        for steps in legs:
            run = run_tiny(tmp_path / name, images, {**how, "diffusion.train.steps": steps})
        store = Store(run.path / "diffusion")
        assert store.steps() == [2, 5]
        kept[name] = store.at(2).tensors("ema")
        newest = store.newest()
        assert newest is not None
        assert Best.of(newest.state) == Best(2, "FD[own]", 3.0)
    assert all(kept["whole"][name].equal(kept["broken"][name]) for name in kept["whole"])
    assert run_status(run.path)["diffusion"]["best"] == {"step": 2, "by": "FD[own]"}
    assert lt.load(run.path, step="best", device="cpu").opened["step"] == 2
    words = ["sample", str(run.path), "--step", "best", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert command([*words, "--guidance", "2", "--autoguide", f"{run.path}@step-best"]) == 0
    assert (
        command(["export", str(run.path), "--step", "best", "--format", "diffusers", "--out", str(tmp_path / "f")]) == 0
    )
    weights = [lt.load(tmp_path / "f", device="cpu"), lt.load(run.path, step="best", device="cpu")]
    first, second = (dict(pipe.denoiser.unet.state_dict()) for pipe in weights if pipe.denoiser is not None)
    assert all(first[name].equal(second[name]) for name in second)
    assert command([*words, "--step", "bets"]) == 2
    assert 'step: "bets"; accepted: the number of a checkpoint, or best' in capsys.readouterr().err


def test_it_is_the_measured_one_and_a_run_without_it_says_how(tmp_path):
    images = write_images(tmp_path / "images", noise(20, (16, 16, 3)))
    run = run_tiny(tmp_path, images, {"diffusion.train.evaluate": ASKED, "diffusion.train.keep": 1})
    rows = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    found = {row["step"]: value for row in rows for name, value in row.items() if name.startswith("FD[own first")}
    best = run_status(run.path)["diffusion"]["best"]
    assert best["step"] == min(found, key=lambda step: found[step])
    plain = run_tiny(tmp_path / "plain", images)
    with pytest.raises(UsageError, match="no best checkpoint is kept; accepted: a step"):
        lt.load(plain.path, step="best")


def test_more_is_better_where_the_table_says_so():
    figures = [Figure("FD[a]", 2.0, 1, 1), Figure("recall[a]", 0.75, 1, 1), Figure("recall[b]", 0.1, 1, 1)]
    assert score_of(figures, "fid") == ("FD[a]", 2.0)
    assert score_of(figures, "recall") == ("recall[a]", -0.75)
    assert score_of(figures, "kid") is None
    low, high = Best(1, "recall[a]", -0.5), Best(2, "recall[a]", -0.75)
    assert beaten(low, 2, ("recall[a]", -0.75)) == high
    assert beaten(high, 3, ("recall[a]", -0.75)) is None, "of equal ones the first"
    assert beaten(high, 3, ("recall[b]", 0.0)) == Best(3, "recall[b]", 0.0), "in other features it begins anew"
    assert beaten(low, 2, ("recall[a]", float("nan"))) is None


def test_what_is_not_measured_is_refused_by_name():
    for words in ({"keep_best": "fdi"}, {"keep_best": "kid", "metrics": ["fid"]}, {"keep_best": "psnr"}):
        with pytest.raises(UsageError, match="is measured; known: fid"):
            config.validate(TrainingEvaluation, words, "evaluate")
    assert config.validate(TrainingEvaluation, {"keep_best": "coverage"}, "evaluate").keep_best == "coverage"
