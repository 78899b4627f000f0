"""If these fail, `latentry bench` does not tell what a model costs, or a mistake in what is asked is met too late."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from latentry.cli import run
from tests.e2e.small_runs import noise, run_tiny, write_images


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("bench")
    write_images(folder / "data", noise(4, (16, 16, 3)))
    return run_tiny(folder, folder / "data").path


FEW = ["--batch", "1", "--steps", "2", "--rounds", "2", "--modes", "fp32", "--budget", "600"]


def test_a_run_is_measured_into_one_folder(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(trained), *FEW, "--out", str(tmp_path / "costs"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "costs" / "bench.json").read_text())
    assert [row["what"] for row in told["rows"]] == [
        "step", "decode", "samples", "training autoencoder", "training diffusion",
    ]  # fmt: skip
    assert all(row["seconds"] > 0 and row["memory"] > 0 for row in told["rows"])
    assert not any("no recipe" in note for note in told["notes"]), "it is the run's own objective that is trained"
    assert sorted(path.name for path in (tmp_path / "costs").iterdir()) == [
        "bench-dark.png", "bench-light.png", "bench.csv", "bench.json",
    ]  # fmt: skip


def test_a_model_folder_is_shown_as_a_table(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(trained / "model"), *FEW, "--parts", "decode", "--images", "1"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[:4] == ["what", "mode", "batch", "size"]
    assert out.splitlines()[1].split()[:4] == ["decode", "fp32", "1", "16x16"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--batch", "1;2"], '--batch: found "1;2"; accepted: whole numbers with commas'),
        (["--steps", "many"], '--steps: found "many"'),
        (["--size", "16y16"], '--size: found "16y16"'),
        (["--size", "18x16"], "size 18x16 does not fit"),
        (["--modes", "fp32,bf16"], "fp32 and bf16 exclude each other"),
        (["--parts", "sampling"], "parts.0: found"),
        (["--against", "compvis"], "against: found"),
        (["--budget", "0"], "budget: found"),
        (["--steps", "5000"], "5000"),
        (["--out", "file.txt"], "--out file.txt: is a file; a benchmark is a folder"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    trained: Path,
    words: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("kept")
    assert run(["bench", str(trained), "--out", "new", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert text in error
    assert "\n" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
