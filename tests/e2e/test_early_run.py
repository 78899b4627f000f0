"""A run that version 0.1.0 made, half-way through its second stage, opens, resumes and samples as it did there.

Beside it lie what that version sampled from it, and the weights and losses of its going on. They may differ in last
digits, since processors do.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

import latentry as lt
from latentry.checkpoints import tensors
from latentry.training.run import train

EARLY = Path(__file__).parents[1] / "reference" / "frozen" / "run-0.1.0"


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return tensors.read(EARLY / "expected.safetensors")


def test_run_and_model_open_and_sample(expected: dict[str, Tensor]) -> None:
    of_run = lt.load(EARLY / "run", device="cpu").sample("a red thing", n=2, seed=4).tensor
    of_model = lt.load(EARLY / "run" / "model", device="cpu").sample("a blue box", label="b", n=1, seed=4).tensor
    torch.testing.assert_close(of_run, expected["sample of the run"], rtol=0, atol=1e-4)
    torch.testing.assert_close(of_model, expected["sample of the model"], rtol=0, atol=1e-4)


def test_it_goes_on_where_it_stopped(expected: dict[str, Tensor], tmp_path: Path) -> None:
    run = shutil.copytree(EARLY / "run", tmp_path / "run")
    (run / "samples" / "diffusion-0000003.png").unlink()
    said: list[str] = []
    changes = {"diffusion.train.steps": 6}
    train(str(EARLY / "recipe.yaml"), EARLY / "images", run, changes, device="cpu", report=said.append)
    assert any("goes on from step 3" in line for line in said)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["stage"] == "diffusion" and "loss" in row]
    assert losses == pytest.approx(json.loads((EARLY / "losses.json").read_text()), abs=1e-5)
    denoiser = lt.load(run, device="cpu").denoiser
    assert denoiser is not None
    for name, weight in denoiser.unet.state_dict().items():
        torch.testing.assert_close(weight, expected[f"final.{name}"], rtol=0, atol=1e-5)
