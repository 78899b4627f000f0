"""If these fail, a training that was stopped, or found its newest checkpoint damaged, becomes another training."""

from __future__ import annotations

import os
import pkgutil
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import latentry as lt
from latentry.checkpoints import Store
from latentry.errors import UsageError
from latentry.training.loop.loop import Progress
from latentry.training.loop.signals import Stopped, check_stop
from tests.e2e.tiny import STAGES, Tiny, begin, checkpoint, model, rows, same

ROOT = Path(__file__).parents[2]


def stop_at(stage: str, step: int, number: int = signal.SIGTERM) -> Callable[[Progress], None]:
    """A progress callback that sends this process a signal when training is there."""

    def watch(now: Progress) -> None:
        if (now.stage, now.step) == (stage, step):
            os.kill(os.getpid(), number)

    return watch


def stopping(real: Callable[..., Any], call: int = 0) -> Callable[..., Any]:
    """The function, but its call number `call` comes with a SIGTERM."""
    calls = iter(range(10**6))

    def wrapped(*args: Any, **options: Any) -> Any:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **options)

    return wrapped


def test_killed_at_random_moments_and_inside_saves() -> None:
    """A seeded trial for each stage, of those that `make soak` does twenty of."""
    command = [sys.executable, str(ROOT / "scripts" / "soak.py"), "--trials", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in STAGES:
        assert f"{stage}: 1 of 1 equal" in done.stdout


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_saves_and_the_same_call_goes_on(
    tiny: Tiny, unbroken: Path, tmp_path: Path, stage: str, number: int, code: int
) -> None:
    """At step 6 a validation is due: it is left for later, so that the stop is quick, and made up for."""
    run = begin(stage, tmp_path / "run", unbroken)
    with pytest.raises(Stopped) as stopped:
        tiny.train(run, stage=stage, progress=stop_at(stage, 6, number))
    assert stopped.value.code == code
    assert Store(run / stage).steps()[-1] == 6
    assert [row["step"] for row in rows(run, stage)] == [3, 6]
    assert f"{stage}: stopped; saved at step 6" in tiny.said[-1]
    tiny.train(run, stage=stage)
    same(run, unbroken, [stage])


def test_a_look_left_undone_is_made_up_for_once(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    """Killed after the due validation, before the next save, the log would hold its row twice."""
    run = begin("diffusion", tmp_path / "run", unbroken)
    with pytest.raises(Stopped):
        tiny.train(run, progress=stop_at("diffusion", 6))
    shutil.copytree(run / "diffusion", tmp_path / "saved")
    tiny.train(run)
    shutil.rmtree(run / "diffusion")
    shutil.rmtree(run / "model")
    shutil.copytree(tmp_path / "saved", run / "diffusion")
    tiny.train(run)
    same(run, unbroken)


@pytest.mark.parametrize("stage", STAGES)
def test_a_look_is_broken_off_for_a_stop(
    tiny: Tiny, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """A long validation would outlast the time that a scheduler gives."""
    run = begin(stage, tmp_path / "run", unbroken)
    with monkeypatch.context() as patch:
        file = "looks" if stage == "autoencoder" else "stage"
        patch.setattr(f"latentry.training.stages.{stage}.{file}.check_stop", stopping(check_stop))
        with pytest.raises(Stopped):
            tiny.train(run, stage=stage)
    assert Store(run / stage).steps()[-1] == 6
    tiny.train(run, stage=stage)
    same(run, unbroken, [stage])


def test_a_preview_is_broken_off_for_a_stop(
    tiny: Tiny, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("diffusion", tmp_path / "run", unbroken)
    preview = run / "samples" / "diffusion-0000009.png"
    with monkeypatch.context() as patch:
        patch.setattr("latentry.training.stages.diffusion.preview.check_stop", stopping(check_stop))
        with pytest.raises(Stopped):
            tiny.train(run)
    assert not preview.exists()
    tiny.train(run)
    assert preview.read_bytes() == (unbroken / "samples" / preview.name).read_bytes()
    same(run, unbroken)


@pytest.mark.parametrize(
    ("where", "call"),
    [
        ("latentry.training.stages.autoencoder.scale.measure_latents", 0),
        ("latentry.checkpoints.model_folder.durable.write", 2),
        ("latentry.training.stages.latents.encode", 3),
        ("latentry.training.run.measure", 0),
    ],
)
def test_a_stop_between_the_stages(
    tiny: Tiny, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, call: int
) -> None:
    """While the scale is measured, the model written, latents encoded or figures taken, nothing may be left half."""
    run = begin("diffusion", tmp_path / "run", unbroken)
    with monkeypatch.context() as patch:
        patch.setattr(where, stopping(pkgutil.resolve_name(where), call))
        with pytest.raises(Stopped) as stopped:
            tiny.train(run)
    assert stopped.value.code == 143
    assert not list(run.rglob("*.tmp"))
    tiny.train(run)
    same(run, unbroken)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("stage", STAGES)
def test_a_damaged_newest_checkpoint_is_passed_over(
    tiny: Tiny, unbroken: Path, tmp_path: Path, stage: str, damage: Callable[[Path], None]
) -> None:
    """Training would go on from garbage, or not at all."""
    run = begin(stage, tmp_path / "run", unbroken)
    with pytest.raises(Stopped):
        tiny.train(run, stage=stage, progress=stop_at(stage, 9))
    damage(run / stage / "step-9" / "model.safetensors")
    tiny.train(run, stage=stage)
    told = [line for line in tiny.said if "damaged" in line]
    assert len(told) == 1
    assert "step-9" in told[0]
    assert "Taking the one before it" in told[0]
    assert any("goes on from step 5" in line for line in tiny.said)
    same(run, unbroken, [stage])


def test_training_longer_is_training_that_long(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    """Steps raised on resume: the same training as if so many had been asked for at once."""
    run = tmp_path / "run"
    tiny.train(run, overrides={"autoencoder.train.steps": 6}, stage="autoencoder")
    tiny.train(run, overrides={"diffusion.train.steps": 6})
    assert lt.load(run / "model").config.trained == {"autoencoder_steps": 12, "diffusion_steps": 6}
    tiny.train(run)
    same(run, unbroken)


def test_a_stage_at_a_time_is_both_at_once(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    first = tiny.train(tmp_path / "run", stage="autoencoder")
    assert any("PSNR" in name for name in first.figures)
    assert not (tmp_path / "run" / "diffusion").exists()
    begin("diffusion", tmp_path / "next", unbroken)
    tiny.train(tmp_path / "next", stage="diffusion")
    same(tmp_path / "run", unbroken, ["autoencoder"])
    same(tmp_path / "next", unbroken)


def test_the_second_stage_waits_for_the_first(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    """It would be trained on an autoencoder that then changes."""
    with pytest.raises(UsageError, match="the autoencoder is at step 0 of 12"):
        tiny.train(tmp_path / "run", stage="diffusion")
    with pytest.raises(Stopped):
        tiny.train(tmp_path / "run", progress=stop_at("autoencoder", 6))
    with pytest.raises(UsageError, match="the autoencoder is at step 6 of 12; finish that stage first"):
        tiny.train(tmp_path / "run", stage="diffusion")


def test_a_longer_first_stage_is_refused_before_it_is_trained(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    """The second stage was trained on what it is now; the run would be of no use any more."""
    run = shutil.copytree(unbroken, tmp_path / "run")
    with pytest.raises(UsageError, match="trained on the autoencoder of step 12"):
        tiny.train(run, overrides={"autoencoder.train.steps": 24})
    assert Store(run / "autoencoder").steps()[-1] == 12
    tiny.train(run)
    same(run, unbroken)


def test_a_finished_run_is_left_as_it_is(tiny: Tiny, unbroken: Path, tmp_path: Path) -> None:
    run = shutil.copytree(unbroken, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    first = tiny.train(run)
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed <= {"recipe.yaml", "lock"}
    assert first.figures
    assert first.figures == tiny.train(run).figures
    same(run, unbroken)


def test_without_its_newest_checkpoints_a_finished_run_stays_finished(
    tiny: Tiny, unbroken: Path, tmp_path: Path
) -> None:
    """The model is there: a bit flipped in a checkpoint since is no reason to train again."""
    run = shutil.copytree(unbroken, tmp_path / "run")
    for stage in STAGES:
        flip(run / stage / "step-12" / "optimiser.safetensors")
    tiny.train(run)
    assert model(run) == model(unbroken)
    assert checkpoint(run, "diffusion") != checkpoint(unbroken, "diffusion")
