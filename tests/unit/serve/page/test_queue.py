"""If these fail, work that is under way is lost to who began it, or cannot be steered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.serve.live import Live, waited
from tests.unit.serve.page import hands

if TYPE_CHECKING:
    from playwright.sync_api import Page


def begin(page: Page, prompt: str, steps: int = 200) -> None:
    """A job of the slow model, of some seconds."""
    if page.get_by_label("Model", exact=True).input_value() != "slow":
        hands.choose(page, "slow")
        page.get_by_text("More settings").click()
    page.get_by_label("Steps", exact=True).fill(str(steps))
    page.get_by_label("Prompt").fill(prompt)
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.locator("#form button[type=submit]").click()


def test_cancelled_jobs_keep_nothing(page: Page, served: Live):
    from playwright.sync_api import expect

    begin(page, "a red circle")
    page.locator("#stage .preview").wait_for()
    page.locator("#stage").get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled. Nothing of it was kept.").wait_for()
    (job,) = hands.jobs(served)
    assert (job["status"], job["images"]) == ("cancelled", [])
    expect(page.get_by_label("Prompt")).to_have_value("a red circle")
    page.get_by_role("button", name="Remove: Generate: a red circle").click()
    expect(page.locator("#queue")).not_to_be_visible()
    assert hands.jobs(served) == []


def test_the_queue_is_seen_and_reordered(page: Page, served: Live):
    """Three wait behind one; the last is moved ahead with the keyboard, one is cancelled and done again."""
    from playwright.sync_api import expect

    begin(page, "first")
    page.locator("#stage .preview").wait_for()
    for prompt in ("second", "third", "fourth"):
        begin(page, prompt, 4)
    rows = page.locator("#queue li")
    expect(rows).to_have_count(4)
    expect(page.get_by_role("heading", name="Queue: 4 jobs")).to_be_visible()
    sooner = page.get_by_role("button", name="Sooner: Generate: fourth")
    sooner.focus()
    for place in (2, 1):
        page.keyboard.press("Enter")
        expect(rows.nth(place)).to_contain_text("fourth")
        expect(rows.nth(place)).to_contain_text("Next" if place == 1 else "1 job ahead")
    page.get_by_role("button", name="Cancel: Generate: second").click()
    expect(rows.nth(3)).to_contain_text("Cancelled")
    page.get_by_role("button", name="Cancel: Generate: first").click()
    waited(lambda: sum(job["status"] == "completed" for job in hands.jobs(served)) == 2)
    ended = sorted((job for job in hands.jobs(served) if job["status"] == "completed"), key=lambda job: job["ended"])
    assert [job["options"]["text"] for job in ended] == ["fourth", "third"]
    page.get_by_role("button", name="Retry: Generate: second").click()
    page.get_by_role("img", name="second").first.wait_for()


def test_a_reload_in_the_middle_loses_nothing(page: Page, served: Live):
    """The job goes on, the page shows it again while it does, and its picture once it is done."""
    from playwright.sync_api import expect

    begin(page, "a blue square", 90)
    page.locator("#stage .preview").wait_for()
    page.reload()
    expect(page.locator("#stage .line")).to_contain_text("of 90")
    page.locator("#stage .preview").wait_for()
    expect(page.locator("#stage button.frame img")).to_have_attribute(
        "alt", "a blue square, seed {seed}".format(**hands.jobs(served)[0]["options"]), timeout=20_000
    )
    page.get_by_role("link", name="Gallery").click()
    expect(page.locator("#gallery .frame")).to_have_count(1)
    page.reload()
    expect(page.locator("#gallery .frame")).to_have_count(1)


def test_a_picture_is_looked_at_used_and_deleted(page: Page, served: Live):
    """Its seed and recipe; its settings, with the picture that it began from; the next task begins from it."""
    from playwright.sync_api import expect

    hands.choose(page, "small", "Vary")
    page.locator(".picker input").set_input_files(hands.photo())
    page.get_by_label("Prompt").fill("a red circle")
    page.get_by_label("Strength").fill("0.4")
    hands.draw(page)
    seed = hands.jobs(served)[0]["images"][0]["seed"]
    page.get_by_role("link", name="Gallery").click()
    page.locator("#gallery .frame").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(seed)
    expect(dialog).to_contain_text("0.4")
    page.keyboard.press("Escape")
    page.reload()
    page.locator("#gallery .frame").click()
    page.get_by_role("button", name="Use these settings").click()
    expect(page.get_by_label("Strength")).to_have_value("0.4")
    expect(page.get_by_label("Seed", exact=True)).to_have_value(seed)
    page.get_by_text("16 × 16").wait_for()
    hands.draw(page)
    page.locator("#stage button.frame").click()
    page.get_by_role("button", name="Inpaint").click()
    page.wait_for_selector(".board canvas")
    page.get_by_role("link", name="Gallery").click()
    page.locator("#gallery .frame").first.click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#gallery .frame")).to_have_count(1)
