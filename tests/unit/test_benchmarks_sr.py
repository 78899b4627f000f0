"""If these fail, the figures of enlarging are wrong: of images trained on, of the wrong model, or of other inputs."""

from __future__ import annotations

import importlib
import io
import json
import sys
import tarfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from latentry.data.dataset import ImageData
from latentry.data.options import DataOptions
from latentry.errors import UsageError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delenv("LATENTRY_WEIGHTS", raising=False)
    return importlib.import_module("task_figures")


def part(name: str) -> ModuleType:
    return importlib.import_module(f"task_figures.{name}")


class Draws:
    """In place of a model: what `make` makes of the files it is given, and of whether they are to be matched."""

    config = SimpleNamespace(data=SimpleNamespace(size=(32, 32)))

    def __init__(self, make: Any) -> None:
        self.make = make

    def run(self, task: str, *, images: list[Path], match_input: bool | None = None, **_: Any) -> SimpleNamespace:
        assert task == "upscale"
        read = torch.stack([torch.from_numpy(np.asarray(Image.open(p)).copy()).movedim(-1, 0) / 255 for p in images])
        return SimpleNamespace(tensor=self.make(read, match_input))


def enlarged(small: Tensor, _: bool | None) -> Tensor:
    """Smooth: less energy than the truth has."""
    return functional.interpolate(small, scale_factor=4, mode="bicubic", align_corners=False).clamp(0, 1)


def drawing(number: int, side: int = 32) -> Image.Image:
    draw = np.random.default_rng(number)
    return Image.fromarray(draw.integers(256, size=(side // 4, side // 4, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.NEAREST
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Drawings, of which every third is another in other colours, as emoji are of people."""
    (tmp_path / "images").mkdir()
    lines = []
    for number in range(60):
        drawing(number).save(tmp_path / "images" / f"{number}.png")
        lines.append({"file_name": f"images/{number}.png", "skin_tone": "dark" if number % 3 == 0 else None})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return tmp_path


def test_what_is_measured_was_not_trained_on(figures: ModuleType, folder: Path) -> None:
    """As training splits the folder by the overrides that the command gives; variants are in neither."""
    folders = part("folders")
    changes = {key.removeprefix("data."): value for key, value in folders.training(folder, False).items()}
    trained = {r.path for r in ImageData(DataOptions(size=32, **changes), folder, "train").records}
    measured = {r.path for r in folders.kept_out(folder, 32).records}
    assert measured
    assert len(trained | measured) == 40
    assert not trained & measured
    assert folders.held_out(folder, (32, 32), 2).shape == (2, 3, 32, 32)


def test_a_folder_that_keeps_nothing_out_is_told(figures: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    drawing(0).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="keep no image out"):
        part("folders").kept_out(tmp_path, 32)


def test_real_images_are_told_from_smooth_and_from_others(figures: ModuleType, folder: Path) -> None:
    real = part("folders").held_out(folder, 32, 100)
    asked = figures.Asked(len(real), 0, None, None, folder)

    def of(make: Any) -> dict[str, Any]:
        found, sheet = figures.MEASURES["sr-emoji"](Draws(make), asked, Draws(enlarged))
        assert len(sheet) == 4 * min(len(real), figures.SHOWN)
        return {figure.name: figure for figure in found}

    good = of(lambda small, match: real)
    assert all(figure.ok for figure in good.values())
    assert good["PSNR of the shrunk sample against the input (dB)"].value > 60
    assert good["gradient energy of the regression over the truth's"].value < 0.9
    assert good["SSIM lost to the regression (dB)"].value < -40
    other = of(lambda small, match: real.roll(1, 0))
    assert not other["PSNR lost to the regression (dB)"].ok
    assert not other["PSNR of the shrunk sample against the input (dB)"].ok
    free = of(lambda small, match: real if match is None else real.roll(1, 0))
    assert free["PSNR of the shrunk sample, not matched (dB)"].value < 25
    assert free["PSNR of the shrunk sample against the input (dB)"].ok


def test_a_blind_model_is_held_against_the_other_on_inputs_that_are_not_bicubic(figures: ModuleType) -> None:
    asked = figures.Asked(12, 0, None, None)
    real, sr = part("common").pictures(asked.scenes()), part("sr")
    small = sr.blindly(real, 0)
    assert torch.equal(small, sr.blindly(real, 0))
    assert part("common").mean_psnr(small, sr.shrunk(real)) < 30
    given: list[Tensor] = []

    def right(inputs: Tensor, match: bool | None) -> Tensor:
        assert match is False
        given.append(inputs)
        return real

    for bicubic, blind, ok in ((enlarged, right, True), (right, enlarged, False)):
        found, _ = figures.MEASURES["sr-blind"](Draws(bicubic), asked, Draws(blind))
        gains = {f.name: f for f in found if "better" in f.name}
        assert len(gains) == 2
        assert all(figure.ok is ok for figure in gains.values())
    assert all(torch.equal(inputs, small) for inputs in given)


def test_archives_become_images_without_maps_and_a_missing_one_is_named(figures: ModuleType, tmp_path: Path) -> None:
    shared, folders = tmp_path / "shared", part("folders")
    shared.mkdir()
    with pytest.raises(UsageError, match=r"sr-photos: flowers.tar, coco_open.tar, kodak.tar not in .*--data"):
        folders.unpacked("photos", tmp_path / "out", shared)
    assert not (tmp_path / "out").exists()
    inside = {"images/a.png": b"a", "semantic/a.png": b"m", "licences/b.png": b"l", "metadata.jsonl": b"{}"}
    for archive in ("flowers", "coco_open", "kodak", "emoji"):
        with tarfile.open(shared / f"{archive}.tar", "w") as tar:
            for name, text in inside.items():
                member = tarfile.TarInfo(f"{archive}/{name}")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))
    for name, expected in (("photos", 3), ("emoji", 2)):
        folder = folders.unpacked(name, tmp_path / "out", shared)
        assert len([path for path in folder.rglob("*") if path.is_file()]) == expected
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"photos", "emoji"}


def test_the_command_trains_both_on_a_folder(
    figures: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And memory can be measured of what it leaves."""
    for number in range(12):
        place = tmp_path / "data" / ("train" if number < 8 else "test")
        place.mkdir(parents=True, exist_ok=True)
        drawing(number, 128).save(place / f"{number}.png")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["sr-photos", "--data", str(tmp_path / "data"), "--quick", "--out", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", ["tasks.py", *words])
    assert importlib.import_module("tasks").main() == 0
    assert "PSNR lost to the regression" in capsys.readouterr().out
    run = tmp_path / "runs" / "small-sr-photos-seed-0-quick"
    assert (
        json.loads((run / "task-sr-photos.json").read_text())["PSNR of the shrunk sample against the input (dB)"] > 35
    )
    assert (run.with_name(f"{run.name}-regression") / "model" / "model.yaml").is_file()
    took = importlib.import_module("upscaling").once(str(run), 16, 1)
    assert took["side"] == 64
    assert 0 < took["loaded"] <= took["peak"]
