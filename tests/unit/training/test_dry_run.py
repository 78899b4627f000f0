"""If these fail, a rehearsal leaves something behind, rehearses other work than the training, or cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from latentry.cli import run as command
from latentry.errors import LatentryError
from latentry.pipeline import Output, Pipeline
from latentry.training.loop.memory import forget_peak, peak
from latentry.training.loop.stage import StepResult
from latentry.training.stages.autoencoder.stage import AutoencoderStage
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

    def stepped(self: AutoencoderStage, at: int, parts: list[Any]) -> StepResult:
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
