"""If these fail, a recipe that brings its images does not train on a fresh machine, or trains on half of them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from latentry.checkpoints.durable import DiskFull
from latentry.data.shapes import generate, generate_scenes
from latentry.errors import UsageError
from latentry.training.plan.decide import plan
from latentry.training.plan.recipes import load
from latentry.training.recipe import drawn
from latentry.training.recipe.drawn import DrawnOptions, drawn_folder

FP32 = ["autoencoder.train.precision=fp32", "diffusion.train.precision=fp32"]  # so that nothing is timed


@pytest.fixture(autouse=True)
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "latentry"


def test_a_recipe_with_images_needs_no_folder_and_draws_them_once(tmp_path: Path, cached: Path) -> None:
    recipe = load("tiny-shapes", ["images={kind: shapes, count: 60}", *FP32])
    said: list[str] = []
    for out in ("a", "b"):
        made = plan(recipe, None, tmp_path / out, report=said.append)
        assert made.data.root == cached / "shapes-60-64x64-seed-0"
        assert len(made.data) + len(made.data.other("held_out")) == 60
        assert set(made.data.captions()) <= {drawing.text for drawing in generate(60)}
    assert len([line for line in said if "drawing 60 images" in line]) == 1
    assert not (tmp_path / "a").exists()
    assert [path.name for path in cached.iterdir()] == ["shapes-60-64x64-seed-0"]


def test_a_named_folder_is_taken_instead_and_without_either_nothing_begins(tmp_path: Path, cached: Path) -> None:
    own = drawn_folder(DrawnOptions(kind="shapes", count=60, seed=9), (64, 64), lambda _: None)
    named = own.rename(tmp_path / "named")
    recipe = load("tiny-shapes", ["images={kind: shapes, count: 50}", *FP32])
    assert plan(recipe, named, tmp_path / "run", report=lambda _: None).data.root == named
    assert not list(cached.iterdir())
    with pytest.raises(UsageError, match="name the folder of images"):
        plan(load("tiny-shapes"), None, tmp_path / "run", report=lambda _: None)


def test_another_set_is_another_folder(cached: Path) -> None:
    sets = [DrawnOptions(count=2), DrawnOptions(count=2, seed=1), DrawnOptions(count=3), DrawnOptions(count=2, kind="shapes")]  # fmt: skip  # noqa: E501
    folders = {drawn_folder(options, (32, 48), lambda _: None) for options in sets}
    assert len(folders) == 4
    texts = [(folder / "metadata.jsonl").read_text() for folder in folders]
    assert any(scene.text in text for scene in generate_scenes(2, (32, 48), seed=1) for text in texts)


def test_what_is_broken_off_leaves_nothing_that_is_taken_for_whole(
    cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(out: Path, *_: object, **__: object) -> None:
        out.mkdir()
        (out / "half").touch()
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(drawn, "write", full)
    with pytest.raises(DiskFull, match="the disk is full"):
        drawn_folder(DrawnOptions(count=2), (64, 64), lambda _: None)
    assert not list(cached.iterdir())
    monkeypatch.undo()


def test_a_size_that_is_too_small_is_said_before_anything_is_written(cached: Path) -> None:
    with pytest.raises(UsageError, match="at least 32 pixels"):
        drawn_folder(DrawnOptions(count=2), (16, 64), lambda _: None)
    assert not list(cached.iterdir())
