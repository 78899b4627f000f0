"""A third stage is a class and a line of the table; if this fails, adding one means editing the other two's files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentry.checkpoints.run_status import run_status
from latentry.checkpoints.store import Saved
from latentry.errors import UsageError
from latentry.kinds import Options
from latentry.models.autoencoder import Autoencoder
from latentry.training.loop.stage import Stage, State, StepResult, weights_of
from latentry.training.plan.plan import Plan
from latentry.training.plan.recipes import load
from latentry.training.recipe.training import StageTraining
from latentry.training.stages import STAGES, StageKind
from latentry.training.stages.kind import Parts
from tests.e2e.small_runs import noise, recipe, run_tiny, write_images

FINISHED: list[nn.Module] = []


class MeanOptions(Options):
    """A throw-away stage that learns the mean latent."""

    start: float = 0.0
    train: StageTraining = StageTraining()
    trains: bool = True


class MeanStage(Stage):
    name = "mean"

    def __init__(self, plan: Plan, parts: Parts) -> None:
        options = plan.recipe.section("mean")
        assert isinstance(options, MeanOptions)
        self.training, self.world, self.data = options.train, plan.world, plan.data
        first = parts["autoencoder"]
        assert isinstance(first, Autoencoder)
        self.first: Autoencoder = first
        self.model: nn.ParameterList = nn.ParameterList([torch.full((4, 1, 1), options.start)])

    def batches(self, start: int) -> Iterator[list[Tensor]]:
        while True:
            yield [torch.stack([self.data.sample(i).image for i in range(2)])]

    def step(self, step: int, parts: list[Tensor]) -> StepResult:
        with torch.no_grad():
            target = self.first.encode(parts[0]).mean(dim=(0, 2, 3))[:, None, None]
            self.model[0] += 0.5 * (target - self.model[0])
            loss = float((target - self.model[0]).square().sum())
        return StepResult({"loss": loss}, True)

    def state(self) -> State:
        return State({"model": weights_of(self.model)})

    def load(self, state: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])


def finish(plan: Plan, parts: Parts, saved: Saved | None) -> Parts:
    assert saved is not None
    FINISHED.append(nn.ParameterList(saved.tensors("model").values()))
    return {**parts, "mean": FINISHED[-1]}


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    FINISHED.clear()
    monkeypatch.setitem(STAGES, "mean", StageKind(MeanOptions, MeanStage, finish, needs=("autoencoder",)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", noise(6, (16, 16, 3)))


MEAN = {"mean": {"train": {"steps": 6, "batch": 2, "log_every": 1, "save_every": 2, "precision": "fp32"}}}


def test_it_trains_after_the_others_and_resumes(third: None, data: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path, data, MEAN).path
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["stage"] == "mean"]
    assert len(losses) == 6
    assert losses[-1] < 0.1 * losses[0]
    assert run_status(run)["mean"]["checkpoints"] == [4, 6]
    (learned,) = FINISHED[-1].parameters()
    longer = {**MEAN, "mean.train.steps": 8}
    run_tiny(tmp_path, data, longer)
    assert run_status(run)["mean"]["checkpoints"] == [6, 8]
    (further,) = FINISHED[-1].parameters()
    assert not torch.equal(learned, further)
    assert (run / "model" / "unet.safetensors").is_file()


def test_it_can_be_chosen_rehearsed_and_misspelt_like_any_other(third: None, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mean\.strat: unknown key \(did you mean \"start\"\?\)"):
        run_tiny(tmp_path, data, {"mean.strat": 1.0})
    with pytest.raises(UsageError, match="the autoencoder is at step 0 of 2; finish that stage first"):
        run_tiny(tmp_path, data, MEAN, stage="mean")
    rehearsed = run_tiny(tmp_path, data, MEAN, dry_run=True).figures["stages"]
    assert list(rehearsed) == ["autoencoder", "diffusion", "mean"]
    assert rehearsed["mean"]["parameters"] == {"mean": 4}
    run_tiny(tmp_path, data, MEAN, stage="autoencoder")
    run = run_tiny(tmp_path, data, MEAN, stage="mean").path
    assert (run / "mean" / "step-6").is_dir()
    assert not (run / "diffusion").exists()


def test_without_the_entry_its_section_is_an_unknown_key(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mean: unknown key"):
        load(recipe(tmp_path, MEAN))
