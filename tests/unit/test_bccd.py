"""If these fail, the figures of boxes of real blood cells say something else than what is seen in the images."""

from __future__ import annotations

import importlib
import json
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from latentry.data.sample import Boxes
from latentry.errors import UsageError
from tests.shared import SHARED, needs_shared

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GROUND, COLOURS = (190, 185, 183), {"RBC": (183, 160, 163), "WBC": (140, 110, 205), "Platelets": (165, 155, 200)}
Planted = list[tuple[str, tuple[int, int, int, int]]]
SMEARS: list[Planted] = [
    [("WBC", (20, 30, 50, 60)), ("RBC", (70, 10, 90, 30)), ("RBC", (95, 60, 115, 80)), ("Platelets", (60, 70, 66, 76))],
    [("WBC", (80, 10, 106, 36)), ("RBC", (10, 10, 30, 30)), ("RBC", (30, 65, 52, 85)), ("Platelets", (70, 50, 76, 56))],
    [("RBC", (40, 40, 62, 60)), ("RBC", (100, 5, 120, 25)), ("RBC", (5, 70, 25, 90))],
]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the task figures."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: importlib.import_module(f"task_figures.{name}")


def smear(planted: Planted, tint: tuple[int, int, int] = (0, 0, 0), scale: int = 1) -> Image.Image:
    """Discs in boxes, in the mean colours of real smears; a red cell is pale in its middle."""
    image = Image.new("RGB", (128 * scale, 96 * scale), GROUND)
    draw = ImageDraw.Draw(image)
    for name, box in planted:
        left, top, right, bottom = (scale * side for side in box)
        draw.ellipse((left, top, right - 1, bottom - 1), fill=COLOURS[name])
        if name == "RBC":
            across, down = (right - left) // 3, (bottom - top) // 3
            draw.ellipse((left + across, top + down, right - across, bottom - down), fill=GROUND)
    return Image.fromarray((np.asarray(image).astype(int) + tint).clip(0, 255).astype(np.uint8))


def shares(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image) / 255


def layout(planted: Planted) -> Boxes:
    corners = np.divide([box for _, box in planted], [128, 96, 128, 96]).astype(np.float32)
    return Boxes(corners, tuple(name for name, _ in planted))


def values(figures: Sequence[Any], whose: str) -> dict[str, float]:
    return {one.name.partition(": ")[2]: one.value for one in figures if one.name.startswith(f"{whose}: ")}


@pytest.mark.parametrize("tint", [(0, 0, 0), (12, 4, 6), (-20, -20, -10)], ids=["as it is", "pink", "dark"])
def test_planted_cells_are_found_in_any_light(part: Any, tint: tuple[int, int, int]) -> None:
    for planted in SMEARS:
        cells = part("cells").find(shares(smear(planted, tint)))
        for name, found in (("WBC", cells.white), ("Platelets", cells.platelets)):
            wanted = [box for one, box in planted if one == name]
            assert len(found) == len(wanted)
            for box, one in zip(wanted, found, strict=True):
                assert np.abs(np.subtract(box, one)).max() <= 2
        truth = part("cells").ellipses([box for _, box in planted], 96, 128)
        assert (truth & cells.covered).sum() / (truth | cells.covered).sum() > 0.85


def test_an_empty_slide_has_no_cells(part: Any) -> None:
    cells = part("cells").find(shares(smear([])))
    assert not cells.covered.any()
    assert cells.white == cells.platelets == []


def test_an_ellipse_has_the_area_of_one(part: Any) -> None:
    area = part("cells").ellipses([(10, 20, 70, 60)], 96, 128).sum()
    assert area == pytest.approx(np.pi / 4 * 60 * 40, rel=0.01)


def test_figures_tell_what_was_asked_for_from_what_was_not(part: Any) -> None:
    found = [part("cells").find(shares(smear(planted))) for planted in SMEARS]
    wanted = [layout(planted) for planted in SMEARS]
    right = values(part("bccd").against("x", wanted, found), "x")
    assert right.pop("IoU of cells and boxes") > 0.85
    assert right.pop("IoU of white boxes") > 0.8
    assert right.pop("red boxes filled") > 0.9
    assert set(right.values()) == {1.0}
    wrong = values(part("bccd").against("x", wanted, found[1:] + found[:1]), "x")
    assert wrong.pop("images with as many white cells") == pytest.approx(1 / 3)
    assert max(wrong.values()) < 0.25
    nothing = [part("cells").find(shares(smear([])))] * 3
    assert set(values(part("bccd").against("x", wanted[:2], nothing[:2]), "x").values()) == {0.0}


def test_one_nucleus_is_not_found_twice(part: Any) -> None:
    wanted = np.array([[0, 0, 10, 10], [1, 1, 11, 11]], dtype=float)
    assert sorted(part("bccd").matched(wanted, [(0, 0, 10, 10)])) == [0.0, 1.0]
    assert part("bccd").matched(wanted, []) == [0.0, 0.0]


class Draws:
    """In place of a model: gives these images."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def sample(self, *, layout: list[Any], size: tuple[int, int], **_: Any) -> SimpleNamespace:
        assert len(layout) == len(self.images)
        assert size == tuple(self.images.shape[2:])
        return SimpleNamespace(tensor=self.images)


@needs_shared
def test_the_judge_is_good_on_real_images_and_sees_which_is_whose(part: Any, tmp_path: Path) -> None:
    """Thresholds were set on training images; these are held out."""
    module: ModuleType = part("bccd")
    folder = module.unpacked(tmp_path, SHARED / "data" / "bccd.tar")
    data = module.held_out(folder)
    assert len(data) == 87 + 72  # as the shared README counts val and test
    real = torch.stack([data.sample(index).image for index in range(40)]) / 2 + 0.5
    figures, sheet = module.bccd(Draws(real), part("common").Asked(40, 0, None, None, folder), None)
    assert sheet.shape == (30, 3, 192, 256)
    found, others = values(figures, "real"), values(figures, "shuffled")
    assert values(figures, "samples") == found
    assert found["white cells found (IoU 0.3)"] > 0.95
    assert found["images with as many white cells"] > 0.85
    assert found["platelets found"] > 0.85
    assert all(found[name] > others[name] + 0.2 for name in found if "as many" not in name)


def test_the_command_names_what_is_missing(part: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data"):
        part("bccd").unpacked(tmp_path, tmp_path / "none.tar")


@pytest.mark.soak
def test_the_command_trains_on_an_archive_and_keeps_what_it_found(
    part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bccd").mkdir()
    lines = []
    for number in range(10):
        planted = SMEARS[number % 3]
        smear(planted, scale=2).save(tmp_path / "bccd" / f"{number}.jpg")
        bboxes = [
            [2 * left, 2 * top, 2 * (right - left), 2 * (bottom - top)] for _, (left, top, right, bottom) in planted
        ]
        objects = {"bbox": bboxes, "category": [name for name, _ in planted]}
        lines.append({"file_name": f"{number}.jpg", "split": ("train", "test")[number >= 8], "objects": objects})
    (tmp_path / "bccd" / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with tarfile.open(tmp_path / "bccd.tar", "w") as tar:
        tar.add(tmp_path / "bccd", "bccd")
    monkeypatch.setattr(part("bccd").unpacked, "__defaults__", (tmp_path / "bccd.tar",))
    monkeypatch.setattr(sys, "argv", ["tasks.py", "bccd", "--quick", "--out", str(tmp_path / "runs")])
    assert importlib.import_module("tasks").main() == 0
    assert "real: white cells found" in capsys.readouterr().out
    out = tmp_path / "runs" / "small-layout-seed-0-quick"
    assert json.loads((out / "task-bccd.json").read_text())["real: white cells found (IoU 0.3)"] == 1
    assert Image.open(out / "task-bccd.png").width > 2 * 256
