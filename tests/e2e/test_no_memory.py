"""If these fail, a night's training ends for want of memory, and nobody says what would have fitted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from latentry.errors import LatentryError, is_out_of_memory
from latentry.models.autoencoder import Autoencoder
from latentry.training import run as runs
from latentry.training.loop.memory import advice
from latentry.training.recipe.training import StageTraining
from tests.e2e.small_runs import TRAIN, noise, run_tiny, write_images
from tests.e2e.test_faults import CLASSES
from tests.e2e.tiny import STAGES

KINDS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    MemoryError(),
    OSError(12, "Cannot allocate memory"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", noise(8, (16, 16, 3)))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", KINDS)
def test_a_step_without_memory_says_the_peak_and_what_fits(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, stage: str, error: Exception
) -> None:
    real = CLASSES[stage].step

    def step(self: Any, number: int, parts: list[Any]) -> Any:
        if number == 3 and len(parts) == 1:
            raise error
        return real(self, number, parts)

    monkeypatch.setattr(CLASSES[stage], "step", step)
    settings = {**TRAIN, "steps": 4, "batch": 4, "save_every": 2}
    changes = {f"{name}.train": settings for name in STAGES}
    with pytest.raises(LatentryError) as failed:
        run_tiny(tmp_path, data, changes)
    told = str(failed.value)
    assert told.startswith(f"{stage}: not enough memory, at step 3; the checkpoint of step 2 is saved: ")
    assert re.search(r": \d+\.\d\d GiB were in use at the highest", told)
    assert f"{stage}.train.accumulate=2: 2 images at once instead of 4, and the same batch of 4 in a step" in told
    fits = {f"{stage}.train": {**settings, "accumulate": 2}}
    run_tiny(tmp_path, data, {**changes, **fits})  # the same command with what it says goes on


def test_advice_keeps_the_batch() -> None:
    def says(processes: int = 1, **options: Any) -> str:
        return advice(StageTraining(**options), "diffusion", processes)

    assert "accumulate=2: 16 images at once instead of 32" in says(batch=32)
    assert "accumulate=8: 4 images at once instead of 8" in says(batch=32, accumulate=4)
    assert "(batch 4, accumulated 8 times)" in says(batch=32, accumulate=4)
    assert "accumulate=3: 5 images at once instead of 15" in says(batch=15)
    assert "accumulate=2: 4 images at once in each process instead of 8" in says(2, batch=16)
    assert says(batch=4, accumulate=4, precision="fp32").startswith("One image at once does not fit: set diffusion.")
    assert "bf16" not in says(batch=4, precision="bf16")
    assert "checkpoint_activations" not in says(batch=4, checkpoint_activations=True)


def no_memory(*_: Any, **__: Any) -> NoReturn:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.mark.parametrize("what", ["validate", "preview", "decode", "evaluation"])
def test_looking_without_memory_never_ends_a_run(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Previews and figures draw more images at once than a step holds; the model must not depend on them."""
    said: list[str] = []
    with monkeypatch.context() as patch:
        if what == "evaluation":
            patch.setattr(runs, "measure", no_memory)
        elif what == "decode":
            patch.setattr(Autoencoder, "decode", no_memory)
        else:
            for kind in CLASSES.values():
                patch.setattr(kind, what, no_memory)
        run = run_tiny(tmp_path, data, report=said.append)
    told = [line for line in said if "not enough memory" in line]
    assert told
    assert not [line for line in said if "GiB" in line]
    assert (run.path / "model" / "unet.safetensors").is_file()
    if what in ("evaluation", "decode"):
        assert dict(run.figures) == {}
        assert "the same command measures again" in told[-1]
    assert "training reconstructions" in "".join(run_tiny(tmp_path, data).figures) or run_tiny(tmp_path, data).figures


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes cannot be multiplied"), OSError(2, "No such file"), ValueError()]
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)
