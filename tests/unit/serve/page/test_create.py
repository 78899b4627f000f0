"""If these fail, a person cannot draw on the page, or cannot draw the same again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.unit.serve.live import Live, live, picture
from tests.unit.serve.page import hands
from tests.unit.serve.page.conftest import watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def test_sample_with_a_preview(page: Page, served: Live):
    """Few controls first; pictures come before they are done, with step and time; what was asked is what was drawn."""
    from playwright.sync_api import expect

    hands.choose(page, "slow")
    expect(page.get_by_label("Steps", exact=True)).not_to_be_visible()
    page.get_by_label("Prompt").fill("a red circle")
    page.get_by_label("Class", exact=True).select_option("star")
    page.get_by_label("Pictures", exact=True).fill("2")
    page.get_by_label("Seed", exact=True).fill("7")
    page.get_by_text("More settings").click()
    page.get_by_label("Steps", exact=True).fill("60")
    page.get_by_label("Solver", exact=True).fill("ddim:eta=0.5")
    hands.submit(page)
    page.locator("#stage img.preview").first.wait_for()
    expect(page.locator("#stage .line")).to_have_text(re.compile(r"Step \d+ of 120, .* left"))
    expect(page.locator("#stage img.preview")).to_have_count(2, timeout=20_000)
    expect(page.locator("#stage button.frame img")).to_have_count(2, timeout=20_000)
    assert page.locator("#stage button.frame img").nth(1).get_attribute("alt") == "a red circle, star, seed 8"
    (job,) = hands.jobs(served)
    asked = {"text": "a red circle", "label": "star", "n": 2, "seed": 7, "steps": 60, "solver": "ddim:eta=0.5"}
    assert job["options"] == asked


def test_the_keyboard_alone(page: Page, served: Live):
    """From the prompt by Tab to the button, and Escape out of a picture."""
    from playwright.sync_api import expect

    page.get_by_label("Prompt").focus()
    page.keyboard.type("a red circle")
    page.keyboard.press("Control+Enter")
    frame = page.locator("#stage button.frame")
    frame.wait_for()
    frame.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="a red circle")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(frame).to_be_focused()


@pytest.mark.parametrize("task", ["Vary", "Outpaint", "Upscale", "Reconstruct", "Interpolate"])
def test_tasks_that_begin_with_pictures(page: Page, served: Live, task: str):
    hands.choose(page, "low" if task == "Upscale" else "small", task)
    if task != "Interpolate":
        page.locator(".picker input").set_input_files(hands.photo())
        page.get_by_text("16 × 16").wait_for()
    if task == "Vary":
        page.get_by_label("Strength").fill("0.3")
    if task == "Outpaint":
        page.get_by_label("Right").fill("8")
        assert page.get_by_role("img", name="The result is 24 × 16 pixels").is_visible()
    if task == "Interpolate":
        page.get_by_label("Seeds").fill("1, 2")
        page.get_by_label("Frames").fill("3")
    hands.draw(page)
    (job,) = hands.jobs(served)
    sizes = [hands.opened(hands.content(served, image["url"])).size for image in job["images"]]
    expected = {"Outpaint": [(24, 16)], "Upscale": [(32, 32)], "Interpolate": [(16, 16)] * 3}
    assert sizes == expected.get(task, [(16, 16)])
    assert ("strength" in job["options"]) == (task == "Vary")
    assert float(job["options"].get("strength", 0.3)) == 0.3


def test_between_two_texts_with_commas(page: Page, served: Live):
    hands.choose(page, "small", "Interpolate")
    page.get_by_label("Texts: first").fill("a red circle, large")
    page.get_by_label("Texts: second").fill("a blue square")
    page.get_by_label("Frames").fill("2")
    hands.draw(page)
    (job,) = hands.jobs(served)
    assert job["options"]["texts"] == ["a red circle, large", "a blue square"]
    page.locator("#stage button.frame").first.click()
    page.get_by_role("button", name="Use these settings").click()
    page.get_by_text("The settings of the picture are restored.", exact=True).wait_for()
    assert page.get_by_label("Texts: first").input_value() == "a red circle, large"


def test_a_mistake_is_told_where_it_was_made(page: Page, served: Live):
    """By the browser, also behind the fold; by the server at once; and where it only comes out in drawing."""
    from playwright.sync_api import expect

    page.get_by_text("More settings").click()
    page.get_by_label("Steps", exact=True).fill("0")
    page.get_by_text("More settings").click()
    page.locator("#form button[type=submit]").click()
    expect(page.get_by_label("Steps", exact=True)).to_be_focused()
    page.get_by_label("Steps", exact=True).fill("")
    page.get_by_label("Guidance interval").fill("0.2")
    page.locator("#form button[type=submit]").click()
    expect(page.locator("form").get_by_role("alert")).to_contain_text("as in 0.2,0.8")
    assert hands.jobs(served) == []
    page.get_by_label("Guidance interval").fill("")
    page.get_by_label("Solver", exact=True).fill("dpmpp_2n")
    page.locator("#form button[type=submit]").click()
    expect(page.locator("#stage").get_by_role("alert")).to_contain_text("known: ddim")


def test_saved_with_and_without_metadata_and_restored(page: Page, served: Live, tmp_path: Path):
    """The picture's file says how it was made, unless it was saved bare; dropped, it fills the form."""
    page.get_by_label("Prompt").fill("a green star on grey")
    page.get_by_label("Pictures", exact=True).fill("2")
    page.get_by_label("Seed", exact=True).fill("40")
    page.get_by_text("More settings").click()
    page.get_by_label("Guidance", exact=True).fill("3.5")
    hands.draw(page)
    page.locator("#stage button.frame").nth(1).click()
    saved = []
    for name in ("Save", "Save without metadata"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        download.value.save_as(tmp_path / name)
        saved.append((tmp_path / name).read_bytes())
    assert download.value.suggested_filename == "seed-41.png"
    full, bare = map(hands.opened, saved)
    assert json.loads(full.info["latentry"])["task"] == "generate"
    assert bare.info == {}
    assert np.array_equal(np.asarray(full), np.asarray(bare))
    assert b"green" not in saved[1]
    page.reload()
    page.wait_for_selector("#form button[type=submit]")
    hands.drop(page, saved[0], "seed-41.png")
    page.get_by_text("The settings of seed-41.png are restored.").wait_for()
    assert page.get_by_label("Prompt").input_value() == "a green star on grey"
    assert page.get_by_label("Seed", exact=True).input_value() == "41"
    page.get_by_text("More settings").click()
    assert page.get_by_label("Guidance", exact=True).input_value() == "3.5"
    hands.draw(page)
    again = hands.opened(hands.content(served, hands.jobs(served)[0]["images"][0]["url"]))
    assert np.abs(np.asarray(again).astype(int) - np.asarray(full)).max() <= 1


def test_what_a_dropped_file_says_is_not_trusted(page: Page, served: Live):
    """Markup stays text, values that fit no control are left out and named, damage is no settings."""
    record = {
        "task": "generate",
        "conditions": {"text": ["<img src=x onerror=alert(1)>"], "label": [{"a": 1}], "__proto__": ["x"]},
        "options": {
            "steps": -5,
            "solver": {"kind": "ddim", "eta": 0},
            "guidance": "NaN",
            "model": "other",
            "size": "axb",
        },
        "seed": 3,
        "index": 0,
        "n": 1,
    }
    hands.drop(page, hands.told({"latentry": json.dumps(record)}), "odd.png")
    said = page.get_by_text("The settings of odd.png are restored.")
    said.wait_for()
    for name in ("label", "steps", "guidance"):
        assert name in (said.text_content() or "")
    assert page.get_by_label("Prompt").input_value() == "<img src=x onerror=alert(1)>"
    assert page.get_by_label("Seed", exact=True).input_value() == "3"
    assert page.get_by_label("Solver", exact=True).input_value() == "ddim:eta=0"
    hands.draw(page)
    assert page.locator("#stage img[src=x]").count() == 0
    for data in (
        hands.told({"latentry": "{"}),
        hands.told({"latentry": "[]"}),
        hands.told({}),
        picture()[:60],
        b"GIF89a",
    ):
        hands.drop(page, data, "other.png")
        page.get_by_text("other.png says nothing of how it was made").wait_for()
        page.evaluate("document.getElementById('said').textContent = ''")


def test_a_token_is_asked_for_and_kept_for_the_tab(browser: Browser):
    from playwright.sync_api import expect

    with live(tokens=["a secret token"]) as served:
        page = browser.new_page()
        troubles = watched(page, served.url)
        page.goto(served.url)
        page.get_by_role("textbox", name="Token").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("The token was not accepted.").wait_for()
        page.get_by_role("textbox", name="Token").fill("a secret token")
        page.get_by_role("button", name="Continue").click()
        page.get_by_label("Prompt").fill("a red circle")
        hands.draw(page)
        expect(page.locator("#stage button.frame img")).to_have_js_property("naturalWidth", 16)
        page.reload()
        page.wait_for_selector("#stage button.frame img")
        assert page.evaluate("localStorage.length") == 0
        assert troubles == []
        page.close()
