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
        self.scenes = {scene.text: scene for scene in scenes}  # several may have one caption
        swaps = [(scene.text, part("edit").swap_of(scene, asked.seed, i)) for i, scene in enumerate(scenes)]
        self.swaps = {(text, swap.after): swap for text, swap in swaps}

    def original(self, scene: Scene) -> Tensor:
        number = list(self.scenes).index(scene.text)
        bad = self.wrong and number % self.wrong == 0
        return tensor(draw_scene(7_000_000 + number) if bad else scene)

    def sample(self, text: str | list[str], **_: Any) -> SimpleNamespace:
        if isinstance(text, str):  # the new caption alone: another layout
            return SimpleNamespace(tensor=torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
        return SimpleNamespace(tensor=torch.cat([self.original(self.scenes[one]) for one in text]))

    def run(self, task: str, *, text: str, to: str, **_: Any) -> SimpleNamespace:
        assert task == "edit"
        scene = self.scenes[text]
        before = self.original(scene)
        if text == to:
            return SimpleNamespace(tensor=before.repeat(2, 1, 1, 1))
        self.edited.append(text)
        swap = self.swaps[text, to]
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
    numbers = [list(model.scenes).index(text) for text in model.edited]
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


class Large:
    """In place of a model: noise for latents, with a jump at what the tiles' borders are, and the truth of the maps.

    worse: by how many times the jump's energy is that of other neighbours."""

    def __init__(self, worse: float) -> None:
        self.worse, self.maps = worse, list[Tensor]()
        self.autoencoder = SimpleNamespace(factor=4, latent_scale=torch.tensor(0.5))

    def sample(self, *, semantic: list[Tensor], **_: Any) -> SimpleNamespace:
        return SimpleNamespace(tensor=torch.cat([shown(map_) for map_ in semantic]))

    def steps(self, _: None, *, seed: int, semantic: list[Tensor], tile: int = 0, **asked: Any) -> list[Any]:
        """Differences along rows, and along columns, of variance 2 within tiles, `worse` times that across borders."""
        assert asked["size"] == (512, 1024) == tuple(semantic[0].shape)
        self.maps.append(semantic[0])
        x = torch.randn(1, 4, 128, 256, generator=torch.Generator().manual_seed(seed))
        if tile:
            start = [i * (128 - 16) // 10 for i in range(11)]  # evenly, over one another by 4 or more
            at = sorted({p for s in start for p in (s, s + 16) if 0 < p < 128})
            jump = (2 * (self.worse - 1)) ** 0.5
            x = x + jump * torch.tensor([sum(p <= row for p in at) for row in range(128)]).view(1, 1, -1, 1)
        return [SimpleNamespace(x=None), SimpleNamespace(x=x)]

    def decode(self, _: Tensor) -> Tensor:
        return shown(self.maps[-1]) * 2 - 1


def shown(map_: Tensor) -> Tensor:
    """(1, 3, H, W) grey, where the shapes of a map are red."""
    red, grey = (torch.tensor(colour)[:, None, None] / 255 for colour in (COLOURS["red"], (128, 128, 128)))
    return torch.where(map_ > 0, red, grey)[None]


def test_a_seam_at_the_tiles_borders_is_measured_and_none_elsewhere(figures: ModuleType) -> None:
    """Planted: no seam, and one of the rows' borders alone, twice the energy there, in a known share of borders."""
    asked = figures.Asked(3, 0, None, None)
    none = {figure.name: figure for figure in figures.MEASURES["conv"](Large(1), asked, Large(1))[0]}
    assert none["in tiles: energy at borders over whole, mean"].value == pytest.approx(1, abs=1e-6)
    assert none["in tiles: mean IoU of maps, cell by cell"].value > 0.9
    assert all(figure.ok for figure in none.values())
    for side in (64, 128, 192):
        assert none[f"latents as they come: mean IoU of maps, {side}x{side}"].value > 0.9
    assert none["latents as they come: deviation"].value == 2
    seam = {figure.name: figure for figure in figures.MEASURES["conv"](Large(2), asked, None)[0]}
    rows, columns = 20 * 256, 40 * 128  # pairs across borders: of 11 tiles down, and 21 across
    assert seam["in tiles: energy at borders over whole, mean"].value == pytest.approx(
        (2 * rows + columns) / (rows + columns), rel=0.03
    )
    assert not seam["in tiles: energy at borders over whole, off 1 by"].ok


def test_the_interval_is_students(figures: ModuleType) -> None:
    mean, half = part("conv").interval([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert half == pytest.approx(3.1824 * (5 / 3) ** 0.5 / 2, rel=1e-4)  # of a printed table, 3 degrees of freedom


def test_a_large_map_is_of_whole_scenes_and_its_cells_are_these(figures: ModuleType) -> None:
    conv, asked = part("conv"), figures.Asked(3, 0, None, None)
    first, second = (conv.mosaic(asked, number) for number in (0, 1))
    assert tuple(first.shape) == (512, 1024)
    assert not torch.equal(first, second)
    scenes = [torch.from_numpy(scene.semantic).long() for scene in asked.scenes(count=9 * 17)]
    cells = conv.cells(first[None])[:, 0]
    assert len(cells) == 7 * 15
    assert torch.equal(cells[0], scenes[17 + 1])  # the first row and column are cut
    assert torch.equal(cells[16], scenes[2 * 17 + 2])
