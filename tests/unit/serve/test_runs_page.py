"""If these fail, a person cannot watch a training in a browser."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from latentry.checkpoints.lock import RunLock
from latentry.serve.api.app import PAGE
from tests.unit.serve.folders import STEPS, add, add_grid, add_rows, write_run
from tests.unit.serve.live import Live, live

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GREY = """() => {
    const image = document.querySelector("figure img");
    if (!image.complete || !image.naturalWidth) return null;
    const pen = document.createElement("canvas").getContext("2d");
    pen.drawImage(image, 0, 0);
    return pen.getImageData(30, 30, 1, 1).data[0];
}"""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Live]:
    """Of a folder with one run."""
    write_run(tmp_path / "runs" / "first")
    with live({}, runs=[tmp_path / "runs"]) as running:
        yield running


def opened(browser: Browser, running: Live, **how: object) -> Page:
    """The page at that section; it asks nothing of any other address."""
    page = browser.new_page(**how)  # type: ignore[arg-type]
    page.set_default_timeout(15_000)
    page.on("request", lambda request: _own(request.url, running.url))
    page.goto(f"{running.url}/#training")
    page.wait_for_selector("article h2")
    return page


def _own(url: str, own: str) -> None:
    assert url.startswith((own, "blob:", "data:")), url


def until(page: Page, expression: str) -> None:
    """Wait until it is so; the page's own rules let no test wait inside of it."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise AssertionError(expression)


def shows_grey(page: Page, grey: int) -> None:
    """Wait until the sheet of samples is of this grey."""
    until(page, f"({GREY})() === {grey}")


def test_a_training_is_watched(browser: Browser, watched: Live, tmp_path: Path):
    """Its numbers, curves and newest sheet come by themselves; what a person has chosen stays."""
    folder = tmp_path / "runs" / "first"
    with RunLock(folder):
        page = opened(browser, watched)
        page.get_by_text(f"running: diffusion 200 of {STEPS}", exact=False).first.wait_for()
        assert "left" in (page.text_content("article p") or "")
        assert "overfitting" in (page.text_content(".runs-warnings") or "")
        shows_grey(page, 80)
        curve = page.locator("svg", has_text="diffusion: error").first
        before = curve.locator("polyline").first.get_attribute("points")
        assert curve.locator("desc").text_content().startswith("from 0.818 at step 10 to 0.3 at step 200")  # type: ignore[union-attr]

        marked = page.evaluate("document.querySelector('.runs-warnings').mark = 'the same'")
        add_rows(folder, "diffusion", [210, 220])
        add_grid(folder, "diffusion", 220, 222)
        page.get_by_text("diffusion 220 of", exact=False).first.wait_for()
        shows_grey(page, 222)
        assert (
            page.locator("svg", has_text="diffusion: error").first.locator("polyline").get_attribute("points") != before
        )
        assert page.evaluate("document.querySelector('.runs-warnings').mark") == marked

        slider = page.get_by_label("Sheet of samples, by step")
        slider.focus()
        page.keyboard.press("Home")
        shows_grey(page, 255)
        assert slider.get_attribute("aria-valuetext") == "autoencoder, step 200"
        add_grid(folder, "diffusion", 240, 111)
        until(page, "document.querySelector('figure input').max === '5'")
        shows_grey(page, 255)
        page.keyboard.press("End")
        shows_grey(page, 111)
    page.get_by_text("stopped: diffusion", exact=False).first.wait_for()


def test_runs_come_are_chosen_and_go(browser: Browser, watched: Live, tmp_path: Path):
    page = opened(browser, watched)
    second = write_run(tmp_path / "runs" / "second", grids=0)
    add(second / "log.jsonl", {"stage": "diffusion", "step": 399, "loss": 1.0, "time": 1.0})
    card = page.get_by_role("button", name="second")
    card.click()
    until(page, "document.querySelector('article h2').textContent === 'second'")
    assert card.get_attribute("aria-pressed") == "true"
    shows_grey(page, 255)
    shutil.rmtree(second)
    until(page, "document.querySelector('article h2').textContent === 'first'")
    assert page.get_by_role("button", name="second").count() == 0


def test_nothing_is_asked_while_it_is_not_seen(browser: Browser, watched: Live):
    page = opened(browser, watched)
    asked: list[str] = []
    page.evaluate("location.hash = '#gallery'")
    page.wait_for_timeout(500)
    page.on("request", lambda request: asked.append(request.url) if "/v1/runs" in request.url else None)
    page.wait_for_timeout(3300)  # it asks every 3 seconds
    assert asked == []
    page.evaluate("location.hash = '#training'")
    end = time.monotonic() + 15
    while not asked:
        assert time.monotonic() < end
        page.wait_for_timeout(100)


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1400, "light")])
def test_it_can_be_read_by_all(browser: Browser, watched: Live, scheme, width):
    """No serious fault by axe-core, and nothing wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing").Axe()
    page = opened(browser, watched, viewport={"width": width, "height": 900}, color_scheme=scheme)
    shows_grey(page, 80)
    for fold in page.locator("details > summary").all():
        fold.click()
    found = axe.run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_is_all_there_is():
    """Nothing of it is fetched from elsewhere."""
    text = (PAGE / "runs.js").read_text(encoding="utf-8")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
