"""If these fail, somebody trains for a night and the model cannot be written, now or on any resume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import latentry as lt
from latentry.checkpoints import model_folder
from latentry.data.dataset import ImageData
from latentry.errors import UsageError
from tests.e2e.small_runs import TEXT, noise, run_tiny, write_images, write_metadata

CLASSES = {"diffusion.conditioning": {"label": {"kind": "class_label", "via": "vector", "width": 8}}}
ODD = [
    "no", "1e5", "null", "-5", "a\nb", "tab\there", "\x01", "\x7f", "\x85", "\u2028", "\ufeff", "'\"", "a | b", "# c",
    "$(touch stolen)", "`id`", "a\\", " space ", "\U0001f984", "e\u0301", "x" * 200, "\u202etxt", "{", "[]", ": -", "%",
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", noise(8, (16, 16, 3)))


def labelled(data: Path, labels: list[str]) -> dict[str, Any]:
    write_images(data, noise(max(4, len(labels)), (16, 16, 3)))
    count = len(list(data.glob("*.png")))
    write_metadata(data, [{"label": labels[i % len(labels)]} for i in range(count)])
    return {**CLASSES, "data.label": "label", "data.held_out": 0}


def not_begun(folder: Path) -> bool:
    """Nothing of a run is there, nor of its rehearsal."""
    return not (folder / "run").exists() and not list(folder.glob(".rehearsal*"))


def halves(patch: pytest.MonkeyPatch) -> None:
    """As a listing would that passed on the name of a folder that is not UTF-8."""
    real = ImageData.__init__

    def begin(self: ImageData, *args: Any, **how: Any) -> None:
        real(self, *args, **how)
        self.labels = ["caf\udce9", *self.labels[1:]]

    patch.setattr(ImageData, "__init__", begin)


@pytest.mark.parametrize("dry", [False, True])
def test_a_class_that_no_file_can_hold_is_refused_before_the_first_step(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, dry: bool
) -> None:
    changes = labelled(data, ["one", "two"])
    halves(monkeypatch)
    with pytest.raises(UsageError, match=r'class "caf\\xe9" has a name that is not UTF-8.* Rename') as refused:
        run_tiny(tmp_path, data, changes, dry_run=dry)
    assert "\udce9" not in str(refused.value)
    assert not_begun(tmp_path)


def test_whatever_else_no_file_can_hold_is_refused_before_the_first_step(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind: a tokenizer here; nobody can list every way into the files of a model."""
    write_metadata(data, [{"text": "a thing"} for _ in range(8)])
    real = model_folder.write

    def write(path: Path, model: model_folder.ModelFolder) -> None:
        for name in model.texts:
            model.texts[name] += "\ud800"  # type: ignore[index]
        real(path, model)

    monkeypatch.setattr(model_folder, "write", write)
    with pytest.raises(UsageError, match=r"is not UTF-8, so that no text file can hold it"):
        run_tiny(tmp_path, data, {"data.text": "text", "diffusion.conditioning": {"text": TEXT}})
    assert not_begun(tmp_path)


def test_what_would_not_be_read_back_is_refused_before_the_first_step(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = labelled(data, ["one", "two"])
    real = model_folder.read
    monkeypatch.setattr(model_folder, "read", lambda path: real(path) if path.name != "model" else lossy(real(path)))

    def lossy(model: model_folder.ModelFolder) -> model_folder.ModelFolder:
        facts = model.config.data.model_copy(update={"labels": ("one", "tw")})
        return model_folder.ModelFolder(model.config.model_copy(update={"data": facts}), {}, model.texts, model.card)

    with pytest.raises(UsageError, match="do not come back from its files"):
        run_tiny(tmp_path, data, changes)
    assert not_begun(tmp_path)


def test_odd_names_of_classes_reach_the_model_and_its_card(tmp_path: Path, data: Path) -> None:
    """Quotes, line ends, words that YAML takes for numbers, and what a shell would run if it were copied."""
    run = run_tiny(tmp_path, data, labelled(data, ODD))
    pipe = lt.load(run.path / "model")
    assert set(pipe.config.data.labels) == set(ODD)
    assert pipe.sample(label="a\nb", n=1).tensor.shape == (1, 3, 16, 16)
    card = (run.path / "model" / "README.md").read_text()
    assert "$(" not in card.split("## Use")[1]
    assert all(line.isprintable() for line in card.split("\n"))


def test_folders_that_are_not_utf8_do_not_matter(tmp_path: Path) -> None:
    """The card names the folder of the images; the run lies in another such folder."""
    try:
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
        odd.mkdir()
    except OSError:
        pytest.skip("this file system knows no such names")
    data = write_images(odd / os.fsdecode(b"bilder \xfc"), noise(6, (16, 16, 3)))
    run = run_tiny(odd, data)
    assert "bilder \\xfc, " in (run.path / "model" / "README.md").read_text()
    assert lt.load(run.path).sample(n=1).tensor.shape == (1, 3, 16, 16)


def test_class_folders_that_are_not_utf8_are_refused_at_once_or_work(tmp_path: Path) -> None:
    try:
        write_images(Path(os.fsdecode(os.fsencode(tmp_path / "data") + b"/caf\xe9")), noise(4, (16, 16, 3)))
    except OSError:
        pytest.skip("this file system knows no such names")
    write_images(tmp_path / "data" / "tea", noise(4, (16, 16, 3), seed=1))
    try:
        run = run_tiny(tmp_path, tmp_path / "data", {**CLASSES, "data.label": "folder", "data.held_out": 0})
    except UsageError:
        assert not_begun(tmp_path)
    else:
        assert len(lt.load(run.path / "model").config.data.labels) == 2
