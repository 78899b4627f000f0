"""If these fail, a picture of boxes, maps, arrays or files is not drawn again, or another is in its place."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentry.cli import run
from latentry.errors import UsageError
from latentry.pipeline import Pipeline, record
from tests.unit.pipeline.small_pipelines import pipeline
from tests.unit.pipeline.test_record import write

DRAW = np.random.default_rng(0)
BOXES: list[Any] = [{"label": "star", "bbox": [0, 0, 0.5, 1]}, {"label": "ring", "bbox": [0.5, 0.5, 0.5, 0.5]}]
FEW: dict[str, Any] = {"steps": 2, "batch": 2, "seed": 5}


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    return picture_of(tmp_path / "map.png", DRAW.integers(0, 4, (16, 16), np.uint8))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return picture_of(tmp_path / "photo.png", DRAW.integers(0, 256, (16, 16, 3), np.uint8))


def picture_of(path: Path, pixels: Any) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def given(map_file: Path) -> dict[str, Any]:
    """Of three images: a map each, of which two are of files, a vector of a file, and boxes."""
    other, vector = map_file.with_name("other.png"), map_file.with_name("vector.npy")
    picture_of(other, DRAW.integers(0, 4, (16, 16), np.uint8))
    np.save(vector, DRAW.standard_normal(3))
    return {"semantic": [map_file, str(other), map_file], "embedding": vector, "layout": [BOXES, BOXES[:1], []], **FEW}


def test_boxes_maps_and_vectors_of_files_are_drawn_again_to_the_bit(map_file: Path, tmp_path: Path) -> None:
    """The record names the files of this batch alone, each with its SHA-256, and has the boxes themselves."""
    pipe = pipeline(conditions="files")
    out = pipe.sample(**given(map_file))
    paths = [out.only(i).save(tmp_path / f"{i}.png")[0] for i in (0, 1, 2)]
    for i, path in enumerate(paths):
        assert torch.equal(pipe.again(path).tensor, out.tensor[i : i + 1])
    kept = record.read(paths[2])
    assert kept.files["semantic"].keys() == {str(map_file)}
    assert kept.conditions["layout"] == [[]]
    assert pipe.again(paths[0], n=2, steps=1).tensor.shape[0] == 2
    sheet = out.save_sheet(tmp_path / "sheet.png")
    assert torch.equal(pipe.again(sheet).tensor, out.tensor)


@pytest.mark.parametrize("change", [Path.unlink, lambda path: picture_of(path, np.zeros((16, 16), np.uint8))])
def test_a_file_that_is_gone_or_changed_is_named_or_replaced(change: Any, map_file: Path, tmp_path: Path) -> None:
    """Drawn of another map, a picture would pass for the one that was liked."""
    pipe, asked = pipeline(conditions="files"), given(map_file)
    (path,) = pipe.sample(**{**asked, "semantic": map_file, "layout": [[]]}).save(tmp_path / "a.png")
    change(map_file)
    with pytest.raises(UsageError, match=r"^semantic: .*is not here or is another file now.*name another") as caught:
        pipe.again(path)
    assert len(str(caught.value).splitlines()) == 1
    assert pipe.again(path, semantic=asked["semantic"][1]).tensor.shape[0] == 1


def test_the_command_says_so_too(map_file: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = pipeline(conditions="files")
    monkeypatch.setattr("latentry.pipeline.load", lambda *_, **__: pipe)
    (path,) = pipe.sample(**{**given(map_file), "semantic": map_file, "layout": [[]]}).save(tmp_path / "a.png")
    line = ["sample", str(tmp_path), "--from", str(path), "--device", "cpu", "--out", str(tmp_path / "again.png")]
    assert run(line) == 0
    assert (tmp_path / "again.png").read_bytes() == path.read_bytes()
    map_file.unlink()
    assert run([*line[:-1], str(tmp_path / "third.png")]) == 2
    assert "is not here or is another file now" in capsys.readouterr().err
    assert not (tmp_path / "third.png").exists()


def test_arrays_of_no_file_are_named_and_a_text_that_names_a_file_without_its_hash_is_refused(
    map_file: Path, tmp_path: Path
) -> None:
    pipe = pipeline(conditions="files")
    (path,) = pipe.sample(semantic=np.zeros((16, 16), int), **FEW).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="semantic was no text"):
        pipe.again(path)
    (path,) = pipe.sample(semantic=map_file, **FEW).save(tmp_path / "b.png")
    tree = json.loads(record.read(path).text())
    write(path, json.dumps({**tree, "files": {}}))
    with pytest.raises(UsageError, match="contradicts itself"):
        pipe.again(path)


TOGETHER: dict[str, dict[str, Any]] = {
    "edit": {"text": "a red circle", "to": "a blue circle", "weight": {"blue": 1.5}, "n": 2, "label": "star"},
    "interpolate": {"seeds": (1, 2), "frames": 3, "text": "a red circle"},
    "vary": {"strength": 0.7, "n": 3, "text": "a red circle"},
}


def asked(task: str, photo: Path) -> dict[str, Any]:
    return {**TOGETHER[task], **FEW, **({"file": photo} if task == "vary" else {})}


@pytest.mark.parametrize("task", TOGETHER)
def test_pictures_of_other_tasks_are_drawn_again_to_the_bit(task: str, photo: Path, tmp_path: Path) -> None:
    """An edit with its original, a frame with the others: all are drawn, and the one is taken."""
    pipe = pipeline()
    out = pipe.run(task, **asked(task, photo))
    for i, path in enumerate(out.save(tmp_path / "out")):
        assert torch.equal(pipe.again(path).tensor, out.tensor[i : i + 1])
    sheet = out.save_sheet(tmp_path / "sheet.png")
    assert torch.equal(pipe.again(sheet).tensor, out.tensor)
    assert not torch.equal(pipe.again(sheet, guidance=4.0).tensor, out.tensor)


def test_an_edit_of_an_image_is_drawn_again(photo: Path, tmp_path: Path) -> None:
    pipe = pipeline()
    out = pipe.edit("a red circle", "a blue circle", image=photo, steps=2)
    _, path = out.save(tmp_path / "out")
    assert torch.equal(pipe.again(path).tensor, out.tensor[1:])
    photo.unlink()
    with pytest.raises(UsageError, match=r"^image: .*is not here or is another file now"):
        pipe.again(path)


@pytest.mark.parametrize("task", ["edit", "vary"])
def test_the_command_that_drew_it_is_told_and_draws_it(
    task: str, photo: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sample --from` cannot draw it, and an edit has words that must be typed: the line to type is printed."""
    pipe = pipeline()
    monkeypatch.setattr("latentry.pipeline.load", lambda *_, **__: pipe)
    out = pipe.run(task, **{**asked(task, photo), "n": 1, "guidance_interval": (0.2, 0.8), "solver": "ddim:eta=0.5"})
    path = out.save(tmp_path / "out")[-1]
    assert run(["sample", "--from", str(path), "--out", str(tmp_path / "no")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    (line,) = re.findall(r"Draw it again by: latentry (.*)\n", said)
    words = [*shlex.split(line)[:-1], str(tmp_path / "again")]
    assert run(words) == 0
    again = sorted((tmp_path / "again").iterdir())
    first = sorted((tmp_path / "out").iterdir())
    assert [Image.open(one).tobytes() for one in again] == [Image.open(one).tobytes() for one in first]


def test_frames_are_drawn_again_by_their_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe: Pipeline = pipeline()
    monkeypatch.setattr("latentry.pipeline.load", lambda *_, **__: pipe)
    _, second, _ = pipe.run("interpolate", **asked("interpolate", tmp_path)).save(tmp_path / "out")
    assert run(["interpolate", str(tmp_path), "--from", str(second), "--out", str(tmp_path / "again.png")]) == 0
    assert (tmp_path / "again.png").read_bytes() == second.read_bytes()
