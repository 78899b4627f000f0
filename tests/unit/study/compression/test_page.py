"""If these fail, the report needs a network, cannot be read by all, or says what was not measured."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from latentry.cli import run
from latentry.errors import LatentryError
from latentry.study.compression.report import PAGE, report, write
from tests.unit.study.compression.planted import planted

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FOUND = {1: [(900.0, 50.0), (700.0, 50.0)], 4: [(300.0, 20.0), (110.0, 20.0)], 8: [(250.0, 20.0), (100.0, 20.0)]}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study, with its report."""
    folder = planted(tmp_path_factory.mktemp("page") / "study", FOUND)
    write(folder)
    return folder


def test_the_numbers_are_those_measured(tmp_path: Path) -> None:
    """Times are steps at their costs: 100 steps of 1.2 s, and with latents 50 of 0.5 s before."""
    folder = planted(tmp_path / "study", FOUND)
    found = report(folder)
    rows = found.tables[0].rows
    assert [row[0] for row in rows] == ["1", "4", "8"]
    assert [row[-4:] for row in rows] == [
        ("", "700", "650 to 750", "10"), ("36.0", "110", "90 to 130", "40"), ("32.0", "100", "80 to 120", "80"),
    ]  # fmt: skip
    assert found.lines[0].startswith("No clear winner between 4 and 8")
    minutes = [[point["seconds"] for point in one["progress"]] for one in found.plain["outcomes"]]
    assert minutes == [pytest.approx([120, 240]), pytest.approx([145, 265]), pytest.approx([145, 265])]
    assert json.loads(json.dumps(found.plain)) == json.loads(json.dumps(report(folder).plain))


def test_files_beside_the_page_say_the_same(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written
    lines = list(csv.DictReader(io.StringIO((folder / "report.csv").read_text(encoding="utf-8"))))
    last = next(
        one
        for one in lines
        if (one["factor"], one["step"], one["drawn_in"]) == ("8", "200", "10") and "KD" in one["name"]
    )
    assert (float(last["value"]), float(last["low"]), float(last["samples_per_second"])) == (100.0, 80.0, 80.0)
    assert len(lines) == 3 * 3 * 2 + 2
    pictures = [
        Image.open(folder / f"{name}-{shade}.png") for name in ("progress", "speed") for shade in ("light", "dark")
    ]
    assert [picture.convert("L").tobytes()[0] > 128 for picture in pictures] == [True, False, True, False]
    assert run(["study", "report", str(folder)]) == 0
    assert "No clear winner between 4 and 8" in capsys.readouterr().out


def test_a_factor_that_is_not_measured_is_said(tmp_path: Path) -> None:
    folder = planted(tmp_path / "study", {**FOUND, 16: []})
    assert report(folder).lines[0] == "Not finished yet: f = 16."
    assert report(folder).tables[0].rows[-1][-3] == "not finished"
    assert "f = 16" in write(folder).lines[0]


def test_a_damaged_measurement_is_named(tmp_path: Path) -> None:
    folder = planted(tmp_path / "study", FOUND)
    file = folder / "measured" / "f4-step-200-drawn-in-5.json"
    file.write_text(file.read_text()[:40])
    with pytest.raises(LatentryError, match=r"f4-step-200-drawn-in-5.json: damaged. Remove it"):
        report(folder)


def test_the_page_opens_without_a_network(written: Path, browser: Browser) -> None:
    """No request, no error, nothing wider than the screen, and words for every picture."""
    asked, errors = list[str](), list[str]()
    page = browser.new_page(viewport={"width": 400, "height": 900}, color_scheme="dark")
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((written / PAGE).as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert errors == []
    for width in (400, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img:not([alt])").count() == 0
    labels = page.locator("svg[role=img]").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert labels == ["Quality against training", "Quality against speed of sampling"]
    assert "No clear winner between 4 and 8" in page.locator("main").inner_text()
    ink = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    assert ink == "rgb(230, 232, 235)"  # the page's words at night
