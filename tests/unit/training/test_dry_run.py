"""If these fail, a rehearsal leaves something behind, rehearses other work than the training, or cannot be read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from latentry.cli import run as command
from latentry.devices import forget_peak, peak
from latentry.errors import LatentryError
from latentry.pipeline import Output, Pipeline
from latentry.training import dry_run
from latentry.training.loop import outlook, waiting
from latentry.training.loop.outlook import DAY
from latentry.training.loop.signals import check_stop
from latentry.training.loop.stage import StepResult
from latentry.training.stages.autoencoder.stage import AutoencoderStage
from latentry.training.stages.diffusion.stage import DiffusionStage
from tests.e2e.small_runs import noise, recipe, run_tiny, write_images

STEPS = {"autoencoder.train.steps": 3000, "diffusion.train.steps": 6000}
CRITIC = {"autoencoder.objective": {"perceptual": "none", "discriminator": {"channels": 4, "layers": 1, "start": 2000}}}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", noise(6, (16, 16, 3)))


def test_a_rehearsal_really_steps_samples_and_saves_and_leaves_nothing(data, tmp_path, monkeypatch):
    before = sorted(tmp_path.rglob("*"))
    asked: list[int] = []
    seen: list[int] = []
    sample, step = Pipeline.sample, AutoencoderStage.step

    def sampled(self: Pipeline, **how: Any) -> Output:
        asked.append(how["steps"])
        return sample(self, **how)

    def stepped(self: AutoencoderStage, at: int, parts: list[Any]) -> Any:
        seen.append(at)
        return step(self, at, parts)

    monkeypatch.setattr(Pipeline, "sample", sampled)
    monkeypatch.setattr(AutoencoderStage, "step", stepped)
    figures = run_tiny(tmp_path, data, {**STEPS, **CRITIC}, dry_run=True).figures
    (tmp_path / "tiny.yaml").unlink()
    assert sorted(tmp_path.rglob("*")) == before
    assert len(asked) == 1
    assert min(seen) == 2000  # where the discriminator takes part, for that is what most steps will cost
    first, second = figures["stages"]["autoencoder"], figures["stages"]["diffusion"]
    assert sorted(first["parameters"]) == ["autoencoder", "discriminator"]
    assert sorted(second["parameters"]) == ["unet"]
    for stage, steps in ((first, 3000), (second, 6000)):
        assert stage["steps"] == steps
        assert stage["hours"] >= 0.99 * steps * stage["seconds a step"] / 3600 - 0.001
        assert 0 < stage["checkpoint (GiB)"] < stage["disk (GiB)"]
        assert stage["peak memory (GiB)"] > 0.05
    assert figures["disk needed (GiB)"] == pytest.approx(first["disk (GiB)"] + second["disk (GiB)"], abs=1e-3)


def test_one_stage_alone_can_be_rehearsed(data, tmp_path):
    stages = run_tiny(tmp_path, data, STEPS, dry_run=True, stage="autoencoder").figures["stages"]
    assert list(stages) == ["autoencoder"]


def test_a_loss_that_is_not_finite_shows_in_the_first_minute(data, tmp_path, monkeypatch):
    monkeypatch.setattr(AutoencoderStage, "step", lambda *_: StepResult({"loss": float("nan")}, False))
    with pytest.raises(LatentryError, match="step 0 is not finite"):
        run_tiny(tmp_path, data, dry_run=True)
    assert not list(tmp_path.glob(".dry-run*"))


def test_people_read_tables(data, tmp_path, capsys, monkeypatch):
    path = recipe(tmp_path, STEPS)
    found: dict[str, Any] = {
        "stages": {
            "autoencoder": {
                "parameters": {"autoencoder": 1234567},
                "precision": "bf16",
                "steps": 3000,
                "seconds a step": 0.5,
                "images a second": 4.0,
                "hours": 0.42,
                "peak memory (GiB)": 1.5,
                "checkpoint (GiB)": 0.1,
                "disk (GiB)": 0.3,
            }
        },
        "hours in all": 0.42,
        "disk needed (GiB)": 0.3,
        "disk free (GiB)": 9.0,
    }
    monkeypatch.setattr("latentry.training.run.rehearse", lambda *_: found)
    assert command(["train", path, "--data", str(data), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    for part in ("1,234,567", "bf16", "25m12s", "peak memory (GiB)", "0.3 GiB needed, 9.0 GiB free"):
        assert part in out


def test_the_peak_is_forgotten_between_stages():
    import torch

    device = torch.device("cpu")
    block = bytearray(400 * 2**20)
    block[:: 2**12] = b"x" * len(block[:: 2**12])
    high = peak(device)
    del block
    forget_peak(device)
    assert peak(device) < high - 0.2


def test_it_says_what_it_does_while_it_does_it(data, tmp_path, monkeypatch):
    """Eleven minutes of silence look like a program that hangs."""
    monkeypatch.setattr(waiting, "EVERY", 0.005)
    doing: list[str] = []
    said: list[str] = []
    run_tiny(tmp_path, data, STEPS, dry_run=True, doing=doing.append, report=said.append)
    for part in ("autoencoder: step 2 of 7", "diffusion: step", "diffusion: a sheet of samples"):
        assert any(line.startswith(f"dry run: {part}") for line in doing), part
    assert not set(said) & set(doing)


def test_the_command_says_it_beside_its_output(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(waiting, "EVERY", 0.005)
    path = recipe(tmp_path, STEPS)
    line = ["train", path, "--data", str(data), "--out", str(tmp_path / "run"), "--dry-run", "--json"]
    assert command(line) == 0
    shown = capsys.readouterr()
    assert "dry run: autoencoder: step" in shown.err
    assert json.loads(shown.out)["figures"]["stages"].keys() == {"autoencoder", "diffusion"}


def test_its_own_time_is_bounded(data, tmp_path, monkeypatch):
    """After its first step a stage begins no other once the time is over, and the sheet of samples is broken off."""
    steps: list[int] = []
    step = AutoencoderStage.step

    def counted(self: AutoencoderStage, at: int, parts: list[Any]) -> Any:
        steps.append(at)
        return step(self, at, parts)

    monkeypatch.setattr(AutoencoderStage, "step", counted)
    monkeypatch.setattr(dry_run, "BUDGET", 0.0)
    monkeypatch.setattr(dry_run, "SHEET", 0.0)
    calls: list[Any] = []
    sample = Pipeline.sample

    def sampled(self: Pipeline, **how: Any) -> Output:
        calls.append(how)
        return sample(self, **how)

    monkeypatch.setattr(Pipeline, "sample", sampled)
    changes = {**STEPS, "sample.steps": 20}
    stages = run_tiny(tmp_path, data, changes, dry_run=True).figures["stages"]
    assert steps == [0]
    assert len(calls) == 1
    assert stages["autoencoder"]["steps timed"] == stages["diffusion"]["steps timed"] == 1


def test_a_sheet_that_is_broken_off_counts_whole(data, tmp_path, monkeypatch):
    def preview(self: DiffusionStage, path: Path) -> None:
        time.sleep(0.05)
        check_stop(0.25)
        pytest.fail("went on")

    monkeypatch.setattr(DiffusionStage, "preview", preview)
    monkeypatch.setattr(dry_run, "SHEET", 0.01)
    changes = {**STEPS, "diffusion.train.sample_every": 1}
    stages = run_tiny(tmp_path, data, changes, dry_run=True).figures["stages"]
    assert stages["diffusion"]["hours"] >= 6000 * 0.05 / 0.25 / 3600


def test_times_are_a_range_from_the_quiet_to_the_busy_machine(data, tmp_path, monkeypatch, capsys):
    """The time of a step that other work held up, times all steps, is days that no training takes."""
    taken = iter([0.4, 0.01, 0.2, 0.01, 0.01, 0.01, 0.01])
    step = AutoencoderStage.step

    def sometimes_slow(self: AutoencoderStage, at: int, parts: list[Any]) -> Any:
        time.sleep(next(taken))
        return step(self, at, parts)

    monkeypatch.setattr(AutoencoderStage, "step", sometimes_slow)
    monkeypatch.setattr(dry_run, "busy", lambda: False)
    changes = {"autoencoder.train.steps": 100_000, "autoencoder.train.save_every": 10**6}
    found = run_tiny(tmp_path, data, changes, dry_run=True, stage="autoencoder").figures
    stage = found["stages"]["autoencoder"]
    assert stage["seconds a step"] < 0.15
    assert stage["seconds a step, at most"] >= 0.2
    assert found["hours in all"] < found["hours in all, at most"]
    found["stages"]["autoencoder"] |= {"hours": 0.5, "hours, at most": 0.75}
    monkeypatch.setattr("latentry.training.run.rehearse", lambda *_: found)
    path = recipe(tmp_path, STEPS)
    assert command(["train", path, "--data", str(data), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert "30m00s to 45m00s" in capsys.readouterr().out


def test_on_a_busy_machine_the_least_is_what_a_step_took_of_the_processors(data, tmp_path, monkeypatch):
    step = AutoencoderStage.step

    def held_up(self: AutoencoderStage, at: int, parts: list[Any]) -> Any:
        time.sleep(0.3)
        return step(self, at, parts)

    monkeypatch.setattr(AutoencoderStage, "step", held_up)
    monkeypatch.setattr(dry_run, "busy", lambda: True)
    stage = run_tiny(tmp_path, data, dry_run=True, stage="autoencoder").figures["stages"]["autoencoder"]
    assert stage["seconds a step"] < 0.3 <= stage["seconds a step, at most"]


def test_more_than_a_day_on_a_cpu_is_told_with_what_to_do(data, tmp_path):
    """`small-256` on two cores takes months, and nobody said so."""
    said: list[str] = []
    run_tiny(tmp_path, data, {"autoencoder.train.steps": 10**9}, dry_run=True, device="cpu", report=said.append)
    (line,) = [line for line in said if "small-64" in line]
    assert line.startswith("dry run: at least ")
    said.clear()
    run_tiny(tmp_path, data, dry_run=True, device="cpu", report=said.append)
    assert not [line for line in said if "small-64" in line]


def test_the_outlook_is_told_once_after_the_first_seconds(monkeypatch):
    """A person who starts a month of training should hear of it before the night, not after."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    said = []
    look = outlook.Outlook(first=200, steps=1_000_200, batch=8, device="cpu")
    for number in range(1, 11):
        now[0] += 30 if number == 1 else 4  # the first step prepares
        said.append(look.after(200 + number))
    texts = [text for text in said if text]
    assert texts == [
        f"about {outlook.duration(4 * 999_996)} for the 999,996 steps left, at 2 images/s. {outlook.ON_CPU}"
    ]
    assert said.index(texts[0]) == 3
    assert DAY < 4 * 999_996
    for device, steps in (("cuda", 1_000_200), ("cpu", 300)):
        look = outlook.Outlook(200, steps, 8, device)
        look.after(201)
        now[0] += 20
        assert "small-64" not in (look.after(202) or "small-64")


@pytest.mark.parametrize(("seconds", "text"), [(45, "45s"), (47 * 3600, "47h00m"), (5.1 * 86400, "5d02h")])
def test_long_durations_are_days(seconds, text):
    assert outlook.duration(seconds) == text
