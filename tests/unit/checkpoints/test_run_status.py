"""If these fail, `latentry inspect` misjudges how far a run is, or fails while it trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latentry.checkpoints.run_status import run_status
from latentry.cli import run as command
from tests.e2e.small_runs import noise, run_tiny, write_images


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    data = write_images(folder / "data", noise(4, (16, 16, 3)))
    return run_tiny(folder, data, {"autoencoder.train.save_every": 1}).path


def test_steps_checkpoints_losses_and_figures(run):
    told = run_status(run)
    assert told["recipe"] == "tiny"
    assert told["autoencoder"]["checkpoints"] == [1, 2]
    assert told["autoencoder"]["steps"] == told["diffusion"]["steps"] == 2
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    last = [row for row in rows if row["stage"] == "diffusion" and "loss" in row][-1]
    assert told["diffusion"]["last"]["loss"] == last["loss"]
    assert told["figures"] == json.loads((run / "figures.json").read_text())


def test_inspect_says_it_for_programs(run, capsys):
    assert command(["inspect", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run"]["diffusion"]["checkpoints"] == [2]
    assert told["parameters"]["unet"] > 0


def test_a_run_that_has_only_begun_has_something_to_say(run, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text((run / "recipe.yaml").read_text())
    row = json.dumps({"stage": "autoencoder", "step": 1, "loss": 0.5})
    (tmp_path / "log.jsonl").write_text(row + '\n{"stage": "autoenc')
    assert command(["inspect", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "loss: 0.5" in out
    assert "checkpoints: []" in out
