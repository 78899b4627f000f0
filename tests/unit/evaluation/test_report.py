"""If these fail, a report shows nothing, asks a network for something, or lets a file's name write the page."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from PIL import Image

from latentry.cli import run
from latentry.evaluation import report
from latentry.evaluation.report.compare import differences, rows
from latentry.evaluation.report.page import training_curves
from latentry.evaluation.report.sides import Side
from latentry.evaluation.result import Evaluation, write
from latentry.metrics.compare import Figure

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def made(folder: Path) -> Evaluation:
    """An evaluation of a run with a log, its pictures in the folder."""
    run = folder / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("name: shapes\n")
    rows = [
        {"stage": stage, "step": i, "loss": 2 / (i + 1)} for stage in ("autoencoder", "diffusion") for i in range(9)
    ]
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"half')
    content = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(content, "PNG")
    (folder / "samples.png").write_bytes(content.getvalue())
    return Evaluation(
        of="100 samples of <b>shapes</b>",
        against="training images",
        figures=(
            Figure("FD[own first stage:ab12c…]", 12.5, 100, 200, (11.25, 13.5), "FD of 100 images: it needs 640."),
            Figure("PSNR of reconstructions", 31.25, 100, 0),
        ),
        model={"parameters": {"all": 1234567}},
        hardware={"device": "CPU"},
        versions={"torch": "2.9"},
        notes=("No Inception weights.",),
        pictures={"samples": "samples.png", "gone": "gone.png"},
        source=str(run),
    )


def test_the_page_says_every_figure_with_its_interval_and_escapes_names(tmp_path: Path) -> None:
    words = report.write(tmp_path, made(tmp_path)).read_text(encoding="utf-8")
    for part in ("12.5", "11.25 to 13.5", "31.25", "it needs 640", "1234567", "No Inception weights.", "name: shapes"):
        assert part in words
    assert "&lt;b&gt;shapes" in words
    assert "<b>" not in words
    assert words.count("<svg") == 2
    assert words.count('alt="samples"') == 1
    assert "#01010" not in words, "a placeholder of a colour was left"


def test_curves_are_those_of_the_log_up_to_a_half_written_line(tmp_path: Path) -> None:
    made(tmp_path)
    found = training_curves(tmp_path / "run")
    assert list(found) == [("autoencoder", "loss"), ("diffusion", "loss")]
    assert found["diffusion", "loss"][3] == (3, 0.5)
    assert training_curves(None) == {}


def told(page: Page) -> tuple[list[str], list[str]]:
    """What a page says of errors from now on, and the addresses that it asks for."""
    troubles, asked = list[str](), list[str]()
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    return troubles, asked


def test_in_a_browser_it_opens_without_an_error_or_a_request(tmp_path: Path, browser: Browser) -> None:
    target = report.write(tmp_path, made(tmp_path))
    for width, scheme in itertools.product((400, 1400), SCHEMES):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        troubles, asked = told(page)
        page.goto(target.as_uri())
        assert troubles == []
        assert [url for url in asked if not url.startswith("data:")] == [target.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the window"
        assert page.evaluate("[...document.images].every(i => i.alt && i.naturalWidth)")
        assert page.evaluate("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-label'))")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 20, 24)"
        assert dark == (scheme == "dark")
        ink = page.evaluate("getComputedStyle(document.body).color")
        label = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
        assert label == ink, "the labels of curves have not the colour of the page's text"
        page.close()


def test_runs_and_reports_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, made(tmp_path))
    (tmp_path / "run" / "figures.json").write_text(json.dumps({"PSNR of reconstructions": 30.5}))
    (tmp_path / "run" / "samples").mkdir()
    (tmp_path / "run" / "samples" / "diffusion-00000100.png").write_bytes((tmp_path / "samples.png").read_bytes())
    assert run(["compare", str(tmp_path), str(tmp_path / "run"), "--out", str(tmp_path / "page")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("PSNR"))
    assert line.split()[-2:] == ["31.25", "30.5"]
    words = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "12.5 (11.25 to 13.5)" in words
    assert words.count("<svg") == 2
    assert words.count("<img") == 2
    assert 'alt="samples of' in words, "the run's own sheet, though it is of no report"


def test_only_what_is_not_the_same_is_told_of_settings_and_recipes(tmp_path: Path) -> None:
    """Other steps, another learning rate; a side without a recipe says nothing of one."""
    one = Side(
        "a", (), None, facts={"asked": {"steps": 20, "seed": 0}, "recipe": {"recipe.train.lr": 0.1, "recipe.a": 1}}
    )
    two = Side(
        "b", (), None, facts={"asked": {"steps": 10, "seed": 0}, "recipe": {"recipe.train.lr": 0.2, "recipe.a": 1}}
    )
    none = Side("c", (), None, facts={"asked": {"steps": 10, "seed": 0, "guidance": 3.0}})
    assert differences([one, two]) == [["steps", "20", "10"], ["recipe.train.lr", "0.1", "0.2"]]
    assert differences([one, none]) == [["steps", "20", "10"], ["guidance", "", "3.0"]]
    assert differences([one, one]) == []


def test_numbers_of_images_are_told_where_they_are_not_the_same() -> None:
    found = [Side(name, (Figure("FD", 2.0, images, 9),), None) for name, images in (("a", 100), ("b", 38), ("c", 100))]
    assert rows(found) == [["FD", "2, 100 images", "2, 38 images", "2, 100 images"]]
    assert rows(found[::2]) == [["FD", "2", "2"]]


def test_in_a_narrow_window_every_value_stands_beside_the_name_of_its_column(tmp_path: Path, browser: Browser) -> None:
    target = report.write(tmp_path, made(tmp_path))
    page = browser.new_page(viewport={"width": 400, "height": 900})
    page.goto(target.as_uri())
    value = page.locator(".columns td:nth-child(2)").first
    assert value.evaluate("e => getComputedStyle(e, '::before').content") == '"value"'
    assert page.locator(".wide").first.evaluate("e => e.scrollWidth <= e.clientWidth"), (
        "to be moved sideways to be read"
    )
    page.set_viewport_size({"width": 1400, "height": 900})
    assert value.evaluate("e => getComputedStyle(e, '::before').content") == "none"


def test_what_cannot_be_compared_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("name: a\n")
    for arguments, said in (
        ([tmp_path / "run"], "at least 2"),
        ([tmp_path, tmp_path / "run"], "neither a run nor a report"),
        ([tmp_path / "run", tmp_path / "run" / ".." / "run"], "is named twice"),
    ):
        assert run(["compare", *map(str, arguments)]) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "recipe.yaml").write_text("name: a\n")
    assert run(["compare", str(tmp_path / "run"), str(tmp_path / "other")]) == 1
    assert "no figures yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{size: [32, 48]}", "64x64 with 3 channels, {}: 32x48 with 3 channels"),
        ("{channels: 1}", "64x64 with 1 channel;"),
    ],
)
def test_images_of_other_sizes_or_channels_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str, said: str
) -> None:
    """A distance at 32 pixels beside one at 64 would look like a better model."""
    for name, words in (("a", "name: a\n"), ("b", f"name: b\ndata: {data}\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(words)
        (tmp_path / name / "figures.json").write_text(json.dumps({"PSNR of reconstructions": 30.5}))
    assert run(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "page")]) == 2
    assert said.format(tmp_path / "b") in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "page").exists()
