"""If these fail, `latentry sample --from` does not make the picture that it is shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from latentry.cli import run


def sampled(out: Path, *line: str) -> list[Path]:
    """The files that a command made."""
    assert run(["sample", *line, "--device", "cpu", "--out", str(out)]) == 0
    return sorted(out.iterdir()) if out.is_dir() else [out]


def refused(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    capsys.readouterr()
    assert run(["sample", *line]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_picture_and_a_sheet_are_made_again(
    unbroken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the file alone, with every option of the line; byte for byte, text and all."""
    model = str(unbroken / "model")
    how = ("a red circle", "--label", "circle", "--solver", "ddim:eta=0.5", "--levels", "uniform", "--steps", "4")
    files = sampled(tmp_path / "many", model, *how, "-n", "18", "--seed", "40", "--guidance", "2.5", "--size", "32x16")
    for file in (files[0], files[17]):
        (again,) = sampled(tmp_path / f"again-{file.stem}", "--from", str(file))
        assert again.read_bytes() == file.read_bytes()
    (sheet,) = sampled(tmp_path / "sheet.png", model, *how, "-n", "4")
    (again,) = sampled(tmp_path / "twice.png", "--from", str(sheet))
    assert again.read_bytes() == sheet.read_bytes()
    assert len(sampled(tmp_path / "each", "--from", str(sheet))) == 4
    capsys.readouterr()
    assert run(["sample", "--from", str(files[0]), "--steps", "2", "--json", "--out", str(tmp_path / "two.tif")]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == [str(tmp_path / "two.tif")]


def test_of_a_run_the_same_checkpoint_and_weights_are_taken(unbroken: Path, tmp_path: Path) -> None:
    (file,) = sampled(tmp_path / "a", str(unbroken), "-n", "1", "--weights", "raw", "--step", "10")
    with Image.open(file) as picture:
        assert (picture.info["weights"], picture.info["step"]) == ("raw", "10")
    (again,) = sampled(tmp_path / "b", "--from", str(file))
    assert again.read_bytes() == file.read_bytes()


def test_the_model_may_have_moved(unbroken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(unbroken / "model", here)
    (file,) = sampled(tmp_path / "a", str(here), "-n", "1")
    here.rename(there)
    said = refused(capsys, "--from", str(file), "--out", str(tmp_path / "b"))
    assert f"at {here}, which is not here. Name it: MODEL" in said
    (again,) = sampled(tmp_path / "b", str(there), "--from", str(file))
    assert again.name == file.name
    with Image.open(again) as one, Image.open(file) as other:
        assert one.tobytes() == other.tobytes()


def test_refusals_are_one_line(unbroken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = str(unbroken / "model"), str(tmp_path / "b")
    bare, _ = sampled(tmp_path / "a", model, "-n", "2", "--no-metadata")
    assert "does not say how it was drawn" in refused(capsys, "--from", str(bare), "--out", out)
    (file,) = sampled(tmp_path / "c", model, "-n", "1")
    assert "was drawn by the model" in refused(capsys, str(unbroken), "--from", str(file), "--out", out)
    assert "no such file" in refused(capsys, "--from", str(tmp_path / "none.png"), "--out", out)
    assert "MODEL is missing" in refused(capsys, "--out", out)
    for wrong in ("ddim:etta=0.5", "{kind: ddim, etta: 0.5}"):
        said = refused(capsys, model, "--solver", wrong, "--out", out)
        assert 'solver.etta: unknown key (did you mean "eta"?)' in said
    for wrong in ("ddim:eta", "ddim:", "{ddim", "{kind: [}", "ddim:eta=!!bool x"):
        assert "solver: " in refused(capsys, model, "--solver", wrong, "--out", out)
