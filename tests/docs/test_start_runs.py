"""If these fail, a page under `docs/start` promises what its commands do not do. Images, sizes, steps are few here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from latentry.cli import run
from latentry.pipeline.record import KEY, Record
from tests.docs.blocks import ROOT, blocks, commands, parse

START = ROOT / "docs" / "start"
PAGES = sorted(START.glob("*.md"))
PICTURED = [page for page in PAGES if "](images/" in page.read_text(encoding="utf-8")]
FEW = {
    "autoencoder.channels": 8,
    "autoencoder.multipliers": [1, 1],
    "autoencoder.norm_groups": 4,
    "autoencoder.objective.perceptual": "none",
    "autoencoder.train.steps": 2,
    "autoencoder.train.batch": 4,
    "diffusion.unet.channels": 16,
    "diffusion.unet.head_channels": 16,
    "diffusion.unet.norm_groups": 8,
    "diffusion.train.steps": 2,
    "diffusion.train.batch": 4,
    "sample.steps": 2,
}


def scans(folder: Path) -> None:
    """Grey, 12-bit values in 16-bit TIFF."""
    for number, draw in enumerate(np.random.default_rng(0).integers(1200, 3900, (24, 24, 24))):
        fine = np.kron(draw, np.ones((4, 4))).astype(np.uint16)
        tifffile.imwrite(folder / f"field-{number:02}.tif", fine)


def photos(folder: Path) -> None:
    """JPEG of several sizes, each with its caption in a text file."""
    for number, draw in enumerate(np.random.default_rng(1).integers(0, 256, (24, 8, 10, 3), dtype=np.uint8)):
        kind = ("rose", "sunflower", "tulip")[number % 3]
        name = folder / f"{kind}_{number:02}"
        Image.fromarray(draw).resize((240, 160 + number % 2)).save(name.with_suffix(".jpg"))
        name.with_suffix(".txt").write_text(f"a photo of {kind} flowers\n")


def drawings(folder: Path) -> None:
    """Transparent PNG in a folder for each class."""
    for number, draw in enumerate(np.random.default_rng(2).integers(0, 256, (32, 8, 8, 4), dtype=np.uint8)):
        kind = folder / ("food", "people", "places", "symbols")[number % 4]
        kind.mkdir(exist_ok=True)
        Image.fromarray(draw, "RGBA").resize((128, 128)).save(kind / f"{number:02}.png")


def cells(folder: Path) -> None:
    """JPEG with boxes of three classes, some of them kept from training by the metadata."""
    (folder / "images").mkdir()
    lines = []
    for number, draw in enumerate(np.random.default_rng(3).integers(0, 256, (24, 6, 8, 3), dtype=np.uint8)):
        name = f"images/smear-{number:03}.jpg"
        Image.fromarray(draw).resize((640, 480)).save(folder / name)
        boxes = [[20 * number, 30, 100, 90], [9, 300, 100, 90], [9, 9, 200, 200], [300, 200, 40, 40]]
        names = ["RBC", "RBC", "WBC", "Platelets"]
        kept = 4 - (number > 12)
        objects = {"bbox": boxes[:kept], "category": names[:kept]}
        lines.append({"file_name": name, "split": ("val", "train", "test", "train")[number % 4], "objects": objects})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))


FOLDERS = {"grey": scans, "photographs": photos, "drawings": drawings, "boxes": cells}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a reader with images of all kinds, and with the file of boxes that a page shows."""
    monkeypatch.chdir(tmp_path)
    for make in FOLDERS.values():
        (tmp_path / make.__name__).mkdir()
        make(tmp_path / make.__name__)
    (tmp_path / "boxes.json").write_text(asked_boxes())
    return tmp_path


def asked_boxes() -> str:
    (text,) = blocks(START / "boxes.md", "json")
    return text


def small(arguments: list[str]) -> list[str]:
    if arguments[0] == "train":
        kept = [word for word in arguments if not word.startswith("diffusion.train.steps")]
        return kept + [f"{key}={value}" for key, value in FEW.items()]
    return [*arguments, "--steps", "2"] if arguments[0] == "sample" else arguments


def said(line: str) -> str:
    """A line of `data check` without its numbers and what follows `...`."""
    return re.sub(r"\d+(?:\.\d+)?", "N", line.partition("...")[0]).rstrip(", ")


def test_there_is_a_page_for_each_way_to_begin():
    assert [page.stem for page in PAGES] == sorted(FOLDERS)
    assert {page.stem for page in PICTURED} >= set(FOLDERS) - {"boxes"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_run_in_order(page, desk, capsys):
    printed = ""
    for arguments in commands(page):
        assert run(small(arguments)) == 0, arguments
        printed += capsys.readouterr().out
    lines = [said(line) for line in printed.splitlines()]
    (quoted,) = [block for block in blocks(page, "") if "read: " in block]
    for line in filter(None, map(said, quoted.splitlines())):
        assert any(line in other for other in lines) or line.split()[0] in ("labels", "sizes"), line
    assert (desk / "runs").is_dir()
    for name in re.findall(r"--out (\w+\.png)", page.read_text()):
        assert (desk / name).is_file()


@pytest.mark.parametrize("page", PICTURED, ids=lambda page: page.stem)
def test_its_pictures_were_drawn_with_its_commands(page):
    """Each shows the sheet that a command of the page draws, by the text in its file."""
    drawn = {asked["out"].stem: asked for asked in map(parse, commands(page)) if asked.get("out") and "n" in asked}
    shown = re.findall(rf"\]\(images/{page.stem}-(\w+)\.png\)", page.read_text())
    assert shown
    for name in shown:
        file = Image.open(START / "images" / f"{page.stem}-{name}.png")
        record, asked = Record.model_validate_json(file.text[KEY]), drawn[name]  # type: ignore[attr-defined]
        assert (record.n, record.seed, record.index) == (asked["n"], asked["seed"], None)
        given = {key: [asked[key]] for key in ("text", "label") if asked.get(key) is not None}
        given |= {"layout": [json.loads(asked_boxes())]} if asked.get("layout") else {}
        assert record.conditions == given
        assert record.model.source == str(asked["model"])
