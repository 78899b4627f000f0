"""If these fail, the figures of edited prompts and of large images say that a model can what it cannot."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentry.data.shapes import COLOURS, SHAPES, Scene, draw_scene
from latentry.metrics.scenes import look

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COUNT = 12
COLOUR, SILHOUETTE, REST = (
    f"edit: {what}"
    for what in ("the shape has the new colour", "IoU of its silhouettes", "the other shapes stay as they were")
)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("task_figures")


def part(name: str) -> ModuleType:
    return importlib.import_module(f"task_figures.{name}")


def tensor(scene: Scene) -> Tensor:
    return part("common").pictures([scene])


def painted(scene: Scene, which: int, colour: str) -> Tensor:
    """(1, 3, H, W): the scene with one thing in another colour; pixels of its edge stay mixed with the ground."""
    x, y, w, h = scene.things[which].bbox
    place = np.zeros(scene.semantic.shape, dtype=bool)
    place[y : y + h, x : x + w] = True
    number = 1 + list(SHAPES).index(scene.things[which].shape)
    image = tensor(scene).clone()
    image[0, :, torch.from_numpy(place & (scene.semantic == number))] = torch.tensor(COLOURS[colour])[:, None] / 255
    return image


class Editor:
    """In place of a model: draws the scenes of the captions, and edits as `way` says. wrong: every so many-th original
    shows another scene than its caption."""

    def __init__(self, asked: Any, way: str, wrong: int = 0) -> None:
        self.way, self.wrong, self.edited = way, wrong, list[str]()
        scenes = asked.scenes(count=part("edit").ROUNDS * asked.count)
        self.swaps = {s.text: (s, part("edit").swap_of(s, asked.seed, i)) for i, s in enumerate(scenes)}
        self.after = {swap.after: (scene, swap) for scene, swap in self.swaps.values()}

    def original(self, scene: Scene) -> Tensor:
        number = list(self.swaps).index(scene.text)
        bad = self.wrong and number % self.wrong == 0
        return tensor(draw_scene(7_000_000 + number) if bad else scene)

    def sample(self, text: str | list[str], **_: Any) -> SimpleNamespace:
        if isinstance(text, str):  # the new caption alone: another layout
            return SimpleNamespace(tensor=torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
        return SimpleNamespace(tensor=torch.cat([self.original(self.swaps[one][0]) for one in text]))

    def run(self, task: str, *, text: str, to: str, **_: Any) -> SimpleNamespace:
        assert task == "edit"
        scene, swap = self.swaps[text]
        before = self.original(scene)
        if text == to:
            return SimpleNamespace(tensor=before.repeat(2, 1, 1, 1))
        self.edited.append(text)
        assert to == swap.after
        way, which = self.way, swap.thing
        if way == "another":  # paints the wrong shape, where there is one
            which = (which + 1) % len(scene.things)
        after = before if way == "nothing" else painted(scene, which, swap.colour)
        return SimpleNamespace(tensor=torch.cat([before, after.roll(24, -1) if way == "moved" else after]))


def measured(figures: ModuleType, monkeypatch: pytest.MonkeyPatch, way: str, wrong: int = 0) -> tuple[Any, Editor]:
    asked = figures.Asked(COUNT, 0, None, None)
    model = Editor(asked, way, wrong)
    monkeypatch.setattr(part("edit"), "walked", lambda _, text, how: model.run("edit", text=text, to=text).tensor)
    found, sheet = figures.MEASURES["edit"](model, asked, None)
    assert sheet.shape[0] == 3 * figures.SHOWN
    return {figure.name: figure for figure in found}, model


def test_only_a_shape_that_is_painted_where_it_stands_passes(
    figures: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: right, none at all, in another place, of another shape. Each fails by the figure that is for it."""
    right, _ = measured(figures, monkeypatch, "painted")
    assert all(figure.ok for figure in right.values())
    assert right[COLOUR].value >= 0.9
    assert right[SILHOUETTE].value >= 0.9
    assert right[REST].value >= 0.95
    assert right["new caption alone: the shape has the new colour"].value == 0
    nothing, _ = measured(figures, monkeypatch, "nothing")
    assert (nothing[COLOUR].value, nothing[SILHOUETTE].value, nothing[REST].value) == (0, 1, 1)
    moved, _ = measured(figures, monkeypatch, "moved")
    assert moved[COLOUR].value < 0.2
    assert moved[SILHOUETTE].value < 0.4
    another, _ = measured(figures, monkeypatch, "another")
    assert not another[COLOUR].ok
    assert another[REST].value < 0.6


def test_only_originals_that_are_right_are_edited(figures: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    found, model = measured(figures, monkeypatch, "painted", wrong=3)
    assert found["originals right, of those that are edited"].value == 1
    assert 0.5 < found["captions right, of all that were drawn"].value < 0.8
    assert len(model.edited) == COUNT
    numbers = [list(model.swaps).index(text) for text in model.edited]
    assert not any(number % 3 == 0 for number in numbers)
    found, model = measured(figures, monkeypatch, "painted", wrong=1)
    assert not found["originals right, of those that are edited"].ok


def test_a_swap_changes_one_word_of_a_caption_into_one_that_a_scene_can_have(figures: ModuleType) -> None:
    asked, one_of_several = figures.Asked(60, 0, None, None), 0
    for index, scene in enumerate(asked.scenes()):
        swap = part("edit").swap_of(scene, 0, index)
        old, new = scene.text.split(), swap.after.split()
        different = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        assert different == [(scene.things[swap.thing].colour, swap.colour)]
        pairs = [f"{swap.colour} {t.shape}" if i == swap.thing else t.pair for i, t in enumerate(scene.things)]
        assert len(set(pairs)) == len(pairs)
        one_of_several += len(pairs) > 1
    assert 20 < one_of_several < 60


def test_a_painted_scene_is_what_the_judge_is_to_find(figures: ModuleType) -> None:
    scene = draw_scene(3, count=2)
    seen = look(painted(scene, 0, next(c for c in COLOURS if c not in {t.colour for t in scene.things})))
    assert len(seen[0].things) == 2


def test_the_command_edits_and_an_edit_that_changes_nothing_is_its_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are drawn and decoded here: if attention that is put in place of itself changed a bit, it would be told."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["tasks.py", "edit", "--quick", "--out", str(tmp_path / "runs")])
    assert importlib.import_module("tasks").main() == 0
    assert "edit: IoU of its silhouettes" in capsys.readouterr().out
    found = json.loads(next((tmp_path / "runs").rglob("task-edit.json")).read_text())
    assert found["no change: largest difference, drawn or not"] == 0
    assert found["originals beside edits and alone: largest difference"] < 1e-3
