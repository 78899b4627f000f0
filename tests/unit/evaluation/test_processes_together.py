"""If this fails, a figure depends on how many processes measured it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from latentry.evaluation import result
from tests.e2e.small_runs import noise, run_tiny, write_images


@pytest.mark.soak
def test_two_processes_of_torchrun_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the whole command: samples, gaps, copies, reconstructions."""
    images = write_images(tmp_path / "images", noise(40, (16, 16, 3)))
    run = run_tiny(tmp_path, images, {"data.held_out": 0.4})
    words = ["-m", "latentry", "evaluate", str(run.path), "--data", str(images), "--samples", "24", "--batch", "8"]
    found = []
    for name, launcher in (("one", []), ("two", ["-m", "torch.distributed.run", "--nproc-per-node", "2"])):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache of {name}"))
        command = [sys.executable, *launcher, *words, "--device", "cpu", "--out", str(tmp_path / name)]
        subprocess.run(command, check=True, timeout=300)
        found.append({figure.name: figure.value for figure in result.read(tmp_path / name).figures})
    assert any(name.startswith("copies") for name in found[0])
    assert found[0] == pytest.approx(found[1], rel=1e-6, abs=1e-9)
