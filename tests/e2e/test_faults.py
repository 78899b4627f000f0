"""If these fail, a bad value, a full disk or a broken logger costs somebody a training."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from latentry.checkpoints import DiskFull, Store, durable
from latentry.errors import LatentryError
from latentry.training.loop import log as logs
from latentry.training.loop.signals import Stopped
from latentry.training.stages.autoencoder.stage import AutoencoderStage
from latentry.training.stages.diffusion.stage import DiffusionStage
from tests.e2e.test_resume import stop_at
from tests.e2e.tiny import STAGES, Tiny, begin, checkpoint, rows, same

CLASSES: dict[str, Any] = {"autoencoder": AutoencoderStage, "diffusion": DiffusionStage}


def nan_at(patch: pytest.MonkeyPatch, stage: str, steps: set[int]) -> None:
    """One value of what these steps are given is NaN."""
    kind, real = CLASSES[stage], CLASSES[stage].batches

    def batches(self: Any, start: int) -> Iterator[list[Any]]:
        for step, parts in enumerate(real(self, start), start):
            if step in steps:
                first = parts[0]
                name = "image" if stage == "autoencoder" else "moments"
                values = getattr(first, name).clone()
                values.view(-1)[0] = float("nan")
                bad = first._replace(**{name: values})
                parts = [bad, *parts[1:]]
            yield parts

    patch.setattr(kind, "batches", batches)


def all_finite(run: Path, stage: str) -> bool:
    saved = Store(run / stage).newest()
    assert saved is not None
    return all(bool(torch.isfinite(tensor).all()) for name in saved.groups for tensor in saved.tensors(name).values())


@pytest.mark.parametrize("stage", STAGES)
def test_a_step_that_is_not_finite_is_left_out(
    tiny: Tiny, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    run = begin(stage, tmp_path / "run", unbroken)
    nan_at(monkeypatch, stage, {4, 5, 7})
    tiny.train(run, stage=stage)
    told = [line for line in tiny.said if "not finite; this update is not applied" in line]
    assert [line.split("step ")[1].split(":")[0] for line in told] == ["4", "5", "7"]
    assert all_finite(run, stage)
    found, wanted = rows(run, stage), rows(unbroken, stage)
    assert [row["step"] for row in found] == [row["step"] for row in wanted]
    assert all(value == value for row in found for value in row.values())


@pytest.mark.parametrize("stage", STAGES)
def test_three_in_a_row_stop_at_the_last_good_state(
    tiny: Tiny, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Also when a stop came between them: two were counted before it. Once the cause is gone, nothing was lost."""
    run = begin(stage, tmp_path / "run", unbroken)
    with monkeypatch.context() as patch:
        nan_at(patch, stage, {4, 5, 6})
        with pytest.raises(Stopped):
            tiny.train(run, stage=stage, progress=stop_at(stage, 6))
        assert all_finite(run, stage)
        with pytest.raises(LatentryError, match=r"not finite 3 times in a row.* last checkpoint is that of step 6"):
            tiny.train(run, stage=stage)
    assert Store(run / stage).steps()[-1] == 6
    other = begin(stage, tmp_path / "other", unbroken)
    with monkeypatch.context() as patch:
        nan_at(patch, stage, {4, 5})
        tiny.train(other, stage=stage)
    tiny.train(run, stage=stage)
    same(run, other, [stage])


def failing(*_: Any, **__: Any) -> Any:
    raise ValueError("broken")


def disk_is_full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def terminal_is_gone(*_: Any) -> None:
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@pytest.mark.parametrize("what", ["validation", "preview", "TensorBoard", "log", "terminal"])
def test_looking_and_logging_never_end_a_run(
    tiny: Tiny, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    run, how = begin("diffusion", tmp_path / "run", unbroken), dict[str, Any]()
    if what == "validation":
        monkeypatch.setattr(DiffusionStage, "validate", failing)
    elif what == "preview":
        monkeypatch.setattr(DiffusionStage, "preview", disk_is_full)
    elif what == "TensorBoard":
        monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", failing)
    elif what == "log":
        monkeypatch.setattr(logs, "_write_whole", disk_is_full)
    else:
        how = {"report": terminal_is_gone, "progress": terminal_is_gone}
    tiny.train(run, **how)
    for name, content in checkpoint(unbroken, "diffusion").items():
        if name.endswith(".safetensors"):
            assert checkpoint(run, "diffusion")[name] == content, name
    told = [line for line in tiny.said if "training goes on" in line]
    assert what == "terminal" or (told and all(what in line for line in told))
    assert what != "log" or len(told) == 1, "told again and again"


def test_rows_wait_until_the_log_can_be_written(
    tiny: Tiny, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for an hour would leave a hole in the curves, and half a line that hides the next one."""
    real, calls = os.write, iter(range(10**6))

    def write(handle: int, data: bytes) -> int:
        if os.path.samestat(os.fstat(handle), (run / "log.jsonl").stat()) and (call := next(calls)) < 6:
            if call % 2:
                disk_is_full()
            return real(handle, data[:10])
        return real(handle, data)

    run = begin("diffusion", tmp_path / "run", unbroken)
    monkeypatch.setattr(os, "write", write)
    tiny.train(run)
    assert rows(run) == rows(unbroken)


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_during_a_save(
    tiny: Tiny, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    run = begin(stage, tmp_path / "run", unbroken)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "write", full_at("step-10.tmp", "optimiser.safetensors", durable.write))
        with pytest.raises(DiskFull, match=r"step-10: not written, the disk is full: .* needed, .* free") as failed:
            tiny.train(run, stage=stage)
    assert failed.value.exit_code == 74
    assert Store(run / stage).steps() == [5]
    assert not list(run.rglob("*.tmp"))
    tiny.train(run, stage=stage)
    same(run, unbroken, [stage])


def full_at(folder: str, name: str, real: Callable[..., None]) -> Callable[..., None]:
    def write(path: Path, parts: Any) -> None:
        if (path.parent.name, path.name) == (folder, name):
            path.write_bytes(b"half")
            disk_is_full()
        real(path, parts)

    return write


@pytest.mark.parametrize("place", ["model", "latents"])
def test_a_full_disk_between_the_stages(
    tiny: Tiny, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Writing to mapped memory on a full disk kills a process without a word."""
    run = begin("diffusion", tmp_path / "run", unbroken)
    with monkeypatch.context() as patch:
        if place == "model":
            patch.setattr(durable, "write", full_at("model.tmp", "model.yaml", durable.write))
        else:
            patch.setattr(os, "posix_fallocate", disk_is_full)
        with pytest.raises(DiskFull, match=place):
            tiny.train(run)
    tiny.train(run)
    same(run, unbroken)


def test_a_reader_never_sees_half_of_anything(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Previews, evaluations and people load a run while it saves, prunes, and writes its model."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what a reader sees does not depend on it
    run = tmp_path / "run"
    command = [sys.executable, str(Path(__file__).with_name("polling_reader.py")), str(run)]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    often = {f"{stage}.train.{what}": value for stage in STAGES for what, value in (("save_every", 1), ("keep", 1))}
    tiny.train(run, overrides=often)
    tiny.train(run, overrides={**often, "diffusion.train.steps": 16})
    (run / "done").touch()
    out, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0, out
    assert int(out) >= 5, "the reader hardly looked"
