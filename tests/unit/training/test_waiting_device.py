"""A device that is not waited for: decided there, and read a step late, training is the same, and so is what it tells.

A CPU stands in for it: `waits` says that looking at a number would mean waiting.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentry.training.loop import ema as ema_module
from latentry.training.loop import optimiser as optimiser_module
from latentry.training.loop import stage as stage_module
from latentry.training.loop.ema import EMA
from latentry.training.loop.log import WALL_CLOCK
from latentry.training.loop.optimiser import Updater
from latentry.training.loop.stage import Unread
from latentry.training.stages.autoencoder import stage as first_module
from latentry.training.stages.autoencoder.stage import AutoencoderStage
from tests.e2e.small_runs import noise, run_tiny, write_images
from tests.unit.training.small_stages import (
    ALONE,
    DISCRIMINATOR,
    classifier_stage,
    first_stage,
    images,
    second_stage,
)
from tests.unit.training.test_bad_steps import BATCH, MANY
from tests.unit.training.test_not_finite import bad_gradient, bad_part, snapshot, unchanged
from tests.unit.training.test_optimiser import training

MODULES = (ema_module, optimiser_module, stage_module, first_module)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES:
        monkeypatch.setattr(module, "waits", lambda _: True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("shapes"))


def build(kind: str, root: Path) -> Any:
    if kind == "diffusion":
        return second_stage(root, train__ema=0.9, train__clip=1e-3)
    if kind == "classifier":
        return classifier_stage(root, train__ema=0.9)
    return first_stage(root, kind=kind, train__ema=0.9, train__clip=1e-3, objective__discriminator=DISCRIMINATOR)


def results(stage: Any, steps: int) -> list[dict[str, float]]:
    source = stage.batches(0)
    return [stage.step(step, next(source)).read().metrics for step in range(steps)]


@pytest.mark.parametrize("kind", ["kl", "vq", "diffusion", "classifier"])
def test_the_same_steps(kind: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, weights, averages and optimisers, with clipping, against steps decided on the host."""
    near = build(kind, root)
    rows = results(near, 3)
    for module in MODULES:
        monkeypatch.setattr(module, "waits", lambda _: True)
    there = build(kind, root)
    for row, other in zip(results(there, 3), rows, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-7)
    found = snapshot(there)
    for name, tensor in snapshot(near).items():
        assert torch.allclose(found[name].double(), tensor.double(), rtol=1e-4, atol=1e-6), name


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("where", ["input", "gradient"])
@pytest.mark.parametrize("kind", ["kl", "vq", "diffusion", "classifier"])
def test_a_bad_step_changes_nothing(kind: str, where: str, root: Path) -> None:
    """Though its kernels were asked for before anyone knew; and it is told which weights' gradients were bad."""
    stage = build(kind, root)
    results(stage, 2)
    before, source = snapshot(stage), stage.batches(2)
    parts = next(source)
    name = next(iter(stage.updater.weights))
    if where == "input":
        result = stage.step(2, bad_part(parts))
    else:
        hook = bad_gradient(stage.updater.weights[name])
        result = stage.step(2, parts)
        hook.remove()
    assert isinstance(result, Unread)
    stage.step(3, next(source))
    read = result.read()
    assert not read.finite
    assert name in read.blamed
    assert not any(key.startswith("discriminator") for key in read.metrics)
    again = build(kind, root)
    results(again, 2)
    again.step(3, next(again.batches(3)))
    unchanged(snapshot(again), snapshot(stage))
    assert before.keys() == snapshot(again).keys()


def test_a_run_tells_and_keeps_what_one_that_waits_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log, what it says of a bad step in the middle, and its weights: read a step late, but at no other step."""
    data, runs = write_images(tmp_path / "data", noise(12, (16, 16, 3))), []
    first = AutoencoderStage.step

    def spoilt(self: AutoencoderStage, at: int, parts: list[Any]) -> Any:
        if at == 3:
            parts[0].image[0, 0, 0, 0] = float("nan")
        return first(self, at, parts)

    monkeypatch.setattr(AutoencoderStage, "step", spoilt)
    for name, late in (("near", False), ("far", True)):
        for module in MODULES:
            monkeypatch.setattr(module, "waits", lambda _, late=late: late)
        said: list[str] = []
        run_tiny(tmp_path / name, data, {**BATCH, **MANY}, stage="autoencoder", report=said.append)
        rows = [json.loads(row) for row in (tmp_path / name / "run" / "log.jsonl").read_text().splitlines()]
        runs.append((rows, [text for text in said if "not finite" in text]))
    (rows, told), (late_rows, late_told) = runs
    assert told == late_told
    assert len(told) == 1
    assert "step 3" in told[0]
    assert len(rows) == len(late_rows)
    for row, late_row in zip(rows, late_rows, strict=True):
        plain = {key: value for key, value in row.items() if key not in (*WALL_CLOCK, "stage")}
        assert {key: late_row[key] for key in plain} == pytest.approx(plain, rel=1e-3, abs=1e-6)


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "muon"])
def test_no_optimiser_moves_at_what_is_not_finite(name: str) -> None:
    """Weights, means and counts stay bit for bit, also where weights decay."""
    wanted = training(optimiser=name, weight_decay=0.0 if name in ("sgd", "adam") else 0.1)
    weight = nn.Parameter(torch.linspace(-1, 1, 128).view(8, 16))
    updater = Updater({"w": weight}, wanted, wanted.rate(), ALONE)
    for fine in (True, False):
        before = {"w": weight.detach().clone(), **{n: t.clone() for n, t in updater.state().items()}}
        weight.grad = torch.full_like(weight, 1.0 if fine else float("nan")) * torch.arange(1, 17)
        norm = updater.reduce()
        updater.step(0, norm, norm.isfinite())
        assert torch.equal(weight, before["w"]) is not fine
    for key, tensor in updater.state().items():
        assert torch.equal(tensor, before[key]), key


@pytest.mark.usefixtures("far")
def test_the_average_is_the_closed_form() -> None:
    """Where a step in the middle was not finite it is as if there had been none."""
    weight = nn.Parameter(torch.zeros(1))
    average = EMA({"w": weight}, decay=0.5)
    expected, updates = Tensor([0.0]), 0
    for n in range(1, 13):
        weight.data.fill_(float(n))
        fine = n != 4
        average.update(torch.tensor(fine))
        if fine:
            updates += 1
            decay = min(0.5, (1 + updates) / (10 + updates))
            expected = decay * expected + (1 - decay) * n
    assert torch.allclose(average.shadow["w"], expected, rtol=1e-5)
    assert average.updates == 11
