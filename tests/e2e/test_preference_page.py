"""If these fail, a person cannot answer a study in a browser, or what they answered is not what is kept."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from latentry.study import report
from latentry.study.preference.asking import Study
from latentry.study.preference.questions import CHECK
from tests.unit.study.studies import GREY, folders

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCHEMES: tuple[Literal["light", "dark"], ...] = ("dark", "light")
WATCH = """
window.seen = {};
new MutationObserver(() => {
    const pen = document.createElement("canvas").getContext("2d");
    for (const side of ["left", "right"]) {
        const image = document.querySelector(`#${side} img`);
        if (!image) continue;
        pen.drawImage(image, 0, 0);
        const values = [[1, 1], [5, 9], [12, 3]].map(([x, y]) => pen.getImageData(x, y, 1, 1).data[0]);
        window.seen[side] = { of: document.getElementById("count").textContent, values };
    }
}).observe(document, { childList: true, subtree: true });
"""
"""Eyes: what was on the page, however short."""


@contextmanager
def program(study: Path, *words: str) -> Iterator[str]:
    """`latentry study preference` as a person starts it; killed at the end. Gives the address of the page."""
    command = [sys.executable, "-m", "latentry", "study", "preference", "--out", str(study), "--port", "0", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as run:
        try:
            assert run.stdout
            told = ""
            for line in run.stdout:
                told += line
                if found := re.search(r"page: (\S+)", line):
                    break
            else:
                pytest.fail(f"no page: {told}")
            yield found[1]
        finally:
            run.kill()


def sees(page: Page, side: str) -> str:
    """Which folder the image on a side was from, as its pixels told."""
    seen = page.evaluate("window.seen")[side]
    assert seen["of"] == page.text_content("#count"), "this image is of an earlier question"
    return next((role for role, grey in GREY.items() if seen["values"] == [grey] * 3), "spoilt")


def answer(page: Page, count: int, prefer: list[str]) -> None:
    """Answer questions as one who takes what stands first in `prefer`; with the keys and the buttons in turn."""
    from playwright.sync_api import expect

    for number in range(count):
        page.wait_for_selector("#choose-left:enabled")
        left, right = (sees(page, side) for side in ("left", "right"))
        side = min((prefer.index(left), "left"), (prefer.index(right), "right"))[1]
        assert page.locator("#images img").count() == 0, "images are seen for longer than the study says"
        before = page.text_content("#count")
        if number % 2:
            page.keyboard.press(f"Arrow{side.title()}")
        else:
            page.click(f"#choose-{side}")
        expect(page.locator("#count")).not_to_have_text(before or "")


def test_a_study_answered_closed_killed_and_continued(browser: Browser, tmp_path: Path):
    """17 questions: A over B, the real image over both; the page closed after 5, the program killed after 9."""
    from playwright.sync_api import expect

    study = tmp_path / "study"
    given = [
        word for role, path in folders(tmp_path, "a", "b", "truth", count=4).items() for word in (f"--{role}", path)
    ]
    prefer, troubles = ["truth", "a", "b", "spoilt"], list[str]()
    context = browser.new_context(viewport={"width": 400, "height": 800})
    context.add_init_script(WATCH)
    with program(study, *map(str, given), "--checks", "5", "--seconds", "0.2") as url:
        page = context.new_page()
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith((url, "data:")) else troubles.append(asked.url))
        page.goto(url)
        page.fill("#name", "Ada")
        page.keyboard.press("Enter")
        answer(page, 5, prefer)
        page.close()
        page = context.new_page()
        page.goto(url)
        expect(page.locator("#count")).to_have_text("Question 6 of 17")
        answer(page, 4, prefer)
        page.close()
    with program(study) as url:
        page = browser.new_page()  # another browser, which remembers nothing
        page.add_init_script(WATCH)
        page.goto(url)
        page.fill("#name", "Ada")
        page.click("text=Begin")
        answer(page, 8, prefer)
        page.wait_for_selector("#end:visible")
        assert "Ada" in (page.text_content("#end h1") or "")
    found = report(study).plain
    assert troubles == []
    assert [(one["rater"], one["answered"], one["counted"]) for one in found["raters"]] == [(1, 17, True)]
    planted = {"a_truth": 0, "b_truth": 0, "a_b": 4}
    assert {one["contest"]: one["chosen"] for one in found["contests"]} == planted
    assert all(one["interval"][0] <= planted[one["contest"]] / 4 <= one["interval"][1] for one in found["contests"])
    assert all(one.chosen != "spoilt" for one in Study(study).answers.all() if one.contest == CHECK)


def test_the_page_fits_and_can_be_read_out(browser: Browser, tmp_path: Path):
    """Nothing is cut off at either width, and everything that is seen has a name for those who hear it."""
    given = folders(tmp_path, "a", "b", "input", count=2)
    words = [word for role, path in given.items() for word in (f"--{role}", str(path))]
    with program(tmp_path / "study", *words, "--seconds", "1.5") as url:
        for width, scheme in zip((400, 1400), SCHEMES, strict=True):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            looked_at(page, url, f"{width}-{scheme}", Path(os.environ.get("LATENTRY_SCREENSHOTS", tmp_path)))
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            bottom = page.locator("#choose").bounding_box()
            assert bottom
            assert bottom["y"] + bottom["height"] <= 800
            page.close()


def looked_at(page: Page, url: str, name: str, pictures: Path) -> None:
    """A page at its start, while images are seen, and while one is chosen: all that is there has a name."""
    page.goto(url)
    page.get_by_label("Your name").fill(f"Ada {name}")
    page.screenshot(path=pictures / f"start-{name}.png")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_selector("#right img")
    assert page.get_by_role("img").count() == 3
    assert page.get_by_alt_text("Left image").is_visible()
    page.screenshot(path=pictures / f"ask-{name}.png")
    page.wait_for_selector("#choose-left:enabled")
    assert page.get_by_role("button", name="Left").is_visible()
    assert page.get_by_role("progressbar", name="Questions answered").is_visible()
    page.screenshot(path=pictures / f"choose-{name}.png")
