"""A finished run whose recipe changes where it may: what the recipe says must be what the model does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import latentry as lt
from latentry.checkpoints.manifest import verify
from latentry.config import load_yaml
from latentry.training.run import train
from tests.e2e.small_runs import noise, recipe, write_images


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    write_images(folder / "data", noise(6, (16, 16, 3)))
    again(folder, folder / "run", {})
    return folder


def again(folder: Path, run: Path, changes: dict[str, Any]) -> Path:
    return train(recipe(folder), folder / "data", run, changes, report=lambda _: None).path


def test_how_it_samples_reaches_the_model(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished / "run", tmp_path / "run")
    before = (run / "model" / "unet.safetensors").read_bytes()
    again(finished, run, {"sample.steps": 5, "sample.guidance": 2.5})
    assert load_yaml(run / "recipe.yaml")["sample"]["steps"] == 5
    for opened in (lt.load(run), lt.load(run / "model")):
        assert (opened.config.sample.steps, opened.config.sample.guidance) == (5, 2.5)
    assert "dpmpp_2m, 5 evaluations, guidance 2.5" in (run / "model" / "README.md").read_text()
    assert "![samples](samples.png)" in (run / "model" / "README.md").read_text()
    assert (run / "model" / "samples.png").is_file()
    assert (run / "model" / "unet.safetensors").read_bytes() == before
    assert verify(run / "model") == []


def test_figures_are_measured_again_where_they_would_differ(finished: Path, tmp_path: Path, monkeypatch) -> None:
    run = shutil.copytree(finished / "run", tmp_path / "run")
    measured: list[Any] = []

    def measure(*of: Any) -> dict[str, int]:
        measured.append(of)
        return {"figure": len(measured)}

    monkeypatch.setattr("latentry.training.run.measure", measure)
    again(finished, run, {"licence": "CC0"})
    assert not measured
    assert "| licence of the images | CC0 |" in (run / "model" / "README.md").read_text()
    again(finished, run, {"licence": "CC0", "sample.steps": 4})
    assert len(measured) == 1
    again(finished, run, {"licence": "CC0", "sample.steps": 4})
    assert len(measured) == 1
    assert "| figure | 1 |" in (run / "model" / "README.md").read_text()


def test_nothing_is_written_where_nothing_changed(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished / "run", tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (run / "model").iterdir()}
    again(finished, run, {})
    assert {path: path.stat().st_mtime_ns for path in (run / "model").iterdir()} == before
