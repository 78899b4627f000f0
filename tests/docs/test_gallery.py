"""If these fail, the gallery shows pictures that its commands do not make, or commands that do not run."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from latentry.cli import run
from tests.docs.blocks import ROOT, commands

PAGE = ROOT / "docs" / "gallery.md"
MODELS = [ROOT / "models" / name for name in ("shapes", "emoji")]
needs_models = pytest.mark.skipif(
    not all(model.is_dir() for model in MODELS), reason="the shipped models are not all in this checkout"
)


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("gallery")


def test_the_page_is_what_its_script_writes(gallery: ModuleType) -> None:
    assert PAGE.read_text(encoding="utf-8") == gallery.page()


def test_every_piece_has_its_picture(gallery: ModuleType) -> None:
    names = [piece.name for piece in gallery.PIECES]
    assert len(set(names)) == len(names)
    for name in names:
        with Image.open(PAGE.parent / "gallery" / f"{name}.png") as picture:
            assert picture.width > 2 * picture.height or picture.height > 128, name
            assert np.ptp(np.asarray(picture.convert("L"))) > 100, name


@needs_models
def test_its_commands_run_and_its_pictures_are_put_together(
    gallery: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gallery, "ROOT", tmp_path)
    shutil.copytree(PAGE.parent / "gallery", tmp_path / "docs" / "gallery")
    (tmp_path / "models").mkdir()
    for model in MODELS:
        (tmp_path / "models" / model.name).symlink_to(model)
    for arguments in commands(PAGE):
        few = [] if arguments[0] == "data" else ["--steps", "2"]
        assert run([*arguments, *few]) == 0, arguments
    for piece in gallery.PIECES:
        with Image.open(PAGE.parent / "gallery" / f"{piece.name}.png") as shown:
            assert gallery.picture(piece).size == shown.size, piece.name
