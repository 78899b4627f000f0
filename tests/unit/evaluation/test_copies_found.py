"""If these fail, the report of a model that repeats its training images does not say so, or shows other ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from torch import Tensor

from latentry.checkpoints.manifest import verify
from latentry.cli import run as command
from latentry.evaluation import result
from latentry.evaluation.images.sets import ImageSet
from latentry.evaluation.on_card import with_rows
from latentry.evaluation.run import evaluate
from tests.e2e.small_runs import noise, run_tiny, write_images

COPIES, MIRRORED = (3, 11, 17), 17


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LATENTRY_WEIGHTS", raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), noise(40, (16, 16, 3)))


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_tiny(tmp_path_factory.mktemp("run"), folder, {"data.held_out": 0.4}).path


@pytest.fixture
def pictures(folder: Path, tmp_path: Path) -> Path:
    """20 pictures, of which three are training images, one of these mirrored."""
    made = write_images(tmp_path / "pictures", noise(20, (16, 16, 3), seed=1))
    for number in COPIES:
        image = Image.open(folder / f"{number}.png")
        (ImageOps.mirror(image) if number == MIRRORED else image).save(made / f"{number}.png")
    return made


def measure(*paths: Path | None, **how: object) -> result.Evaluation:
    return evaluate(*paths, draws=0, device="cpu", report=lambda _: None, metrics=["copies"], **how)  # type: ignore[arg-type]


def test_planted_copies_are_in_figures_pairs_and_page(model, folder, pictures, tmp_path):
    found = measure(model, folder, images=pictures, out=tmp_path / "report")
    assert 3 <= sum(row["copy"] for row in found.nearest) == round(20 * found.value("copies")) <= 5
    assert result.read(tmp_path / "report") == found
    surest = {row["training image"]: row["mirrored"] for row in found.nearest[:3] if row["copy"]}
    assert surest == {f"{number}.png": number == MIRRORED for number in COPIES}
    assert all(row["sample"] == row["training image"] for row in found.nearest[:3]), "each is planted under its name"
    sheet = np.asarray(Image.open(tmp_path / "report" / "nearest.png").convert("RGB"))
    truth = [np.asarray(Image.open(folder / row["training image"])) for row in found.nearest[:2]]
    assert all(any((sheet[y : y + 16, x : x + 16] == one).all() for y in range(sheet.shape[0] - 15)
                   for x in range(sheet.shape[1] - 15)) for one in truth)  # fmt: skip
    words = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert words.count('alt="samples, and below each the training image that is nearest to it"') == 1
    assert f">{COPIES[0]}.png</td>" in words


def test_a_file_that_cannot_be_read_shifts_no_name(model, folder, pictures, tmp_path):
    """Else the pairs name the training image beside the one that was repeated."""
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    (data / "1.png").write_bytes(b"no image")
    found = measure(model, data, images=pictures)
    assert {row["training image"] for row in found.nearest[:3]} == {f"{n}.png" for n in COPIES}


def test_no_image_is_read_twice(model, folder, monkeypatch):
    """Training images, whose statistics are measured too, or which are tens of thousands on a slow disk."""
    read, one = list[Path](), ImageSet.__call__

    def noted(self: ImageSet, numbers: range) -> Iterator[Tensor]:
        read.extend(self.paths[number] for number in numbers)
        return one(self, numbers)

    monkeypatch.setattr(ImageSet, "__call__", noted)
    found = evaluate(
        model, folder, draws=0, device="cpu", report=lambda _: None, metrics=["fid", "gap", "copies"], samples=4
    )
    assert {figure.name.partition("[")[0] for figure in found.figures} >= {"FD", "gap of FD", "copies"}
    assert len(read) == len(set(read)) == 40


def test_the_share_stands_on_the_card_once_and_stays_there(model, folder, tmp_path, capsys):
    """Else who is given the model learns nothing of its copies, or the folder no longer verifies."""
    words = ["evaluate", str(model), "--data", str(folder), "--metrics", "copies", "--out", str(tmp_path / "out")]
    for samples in ("4", "6"):
        assert command([*words, "--samples", samples, "--card", "--device", "cpu"]) == 0
    card = (model / "model" / "README.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith("| samples that are copies of training images [")]
    assert len(rows) == 1
    assert rows[0].endswith("6 images |")
    assert "| PSNR of held-out reconstructions" in card
    assert card.index("## Figures") < card.index(rows[0]) < card.index("## Use")
    assert not verify(model / "model")
    names = json.loads((model / "figures.json").read_text())
    assert rows[0].split("|")[1].strip() in names, "the next `latentry train` would write the card without it"


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--images", "{data}"], "pictures of a folder have none"), (["--step", "2"], "Leave --step 2 out"),
     (["--recipe", "emogi"], 'did you mean "emoji"')],
)  # fmt: skip
def test_a_card_that_is_of_something_else_is_refused(model, folder, more, said, tmp_path, capsys):
    words = ["evaluate", str(model), "--data", str(folder), "--card", "--out", str(tmp_path / "out")]
    assert command([*words, *(word.format(data=folder) for word in more)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_card_of_other_words_gets_a_table_before_its_use():
    rows = {"a": "1 | 2", "c": "2"}
    assert with_rows("# x\n\nUse: y\n", rows).splitlines() == [
        "# x", "", "## Figures", "", "| | |", "| --- | --- |", "| a | 1 \\| 2 |", "| c | 2 |", "", "Use: y"
    ]  # fmt: skip
    again = with_rows(with_rows("# x\n", rows), {"c": "3"})
    assert [line for line in again.splitlines() if line.startswith("| c")] == ["| c | 3 |"]


def test_too_few_images_to_judge_by_are_a_note(model, pictures, tmp_path):
    few = write_images(tmp_path / "few", noise(5, (16, 16, 3)))
    found = measure(model, few, images=pictures)
    assert found.figures == ()
    assert any("copies: left out" in note and "20 images to judge it by" in note for note in found.notes)
