"""If these fail, what is painted or placed by hand is not what the model is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.unit.serve.live import Live, picture
from tests.unit.serve.page import hands

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Page


def hole(page: Page, served: Live) -> NDArray[np.bool_]:
    """The mask of the newest job."""
    (path,) = hands.jobs(served)[0]["inputs"]["mask"]
    image = hands.opened(hands.content(served, path))
    assert image.mode == "L"
    return np.asarray(image) > 127


def painting(page: Page) -> None:
    """Inpaint, with a picture chosen."""
    hands.choose(page, "small", "Inpaint")
    page.locator(".picker input").set_input_files(hands.photo())
    page.wait_for_selector(".board canvas")


def test_a_mask_is_painted_and_filled(page: Page, served: Live):
    """Brush, undo and redo; known pixels come back exactly."""
    painting(page)
    canvas = page.locator(".board canvas")
    page.locator("#form button[type=submit]").click()
    page.get_by_text("Paint over what is to be drawn anew.").last.wait_for()
    hands.drag(page, canvas, (0.25, 0.25), (0.25, 0.75))
    hands.drag(page, canvas, (0.75, 0.25), (0.75, 0.75))
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Redo").click()
    hands.draw(page)
    mask = hole(page, served)
    assert mask[:, 8:].sum() == 0
    assert mask[5:11, 4].all()
    given = np.asarray(hands.opened(picture()))
    drawn = np.asarray(hands.opened(hands.content(served, hands.jobs(served)[0]["images"][0]["url"])))
    assert np.array_equal(given[~mask], drawn[~mask])
    assert not np.array_equal(given[mask], drawn[mask])


def test_a_mask_without_a_pointer(page: Page, served: Live):
    """A box by numbers; a stroke with the arrow keys, and one that Escape drops."""
    painting(page)
    page.get_by_text("A box by numbers").click()
    for name, value in {"Left": "2", "Top": "3", "Width": "4", "Height": "5"}.items():
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_role("button", name="Paint this box").click()
    page.get_by_label("Brush size").fill("1")
    page.get_by_role("application").focus()
    for key in (" ", "ArrowRight", "ArrowRight", " ", "ArrowDown", " ", "ArrowDown", "Escape"):
        page.keyboard.press(key)
    hands.draw(page)
    expected = np.zeros((16, 16), bool)
    expected[3:8, 2:6] = True
    expected[8, 8:11] = True
    assert np.array_equal(hole(page, served), expected)


def test_a_pointer_that_is_taken_away_leaves_nothing_half_done(page: Page):
    painting(page)
    canvas = page.locator(".board canvas")
    box = canvas.bounding_box()
    assert box
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 90, steps=3)
    assert not page.get_by_role("button", name="Clear").is_enabled()
    page.keyboard.press("Escape")
    page.mouse.up()
    assert not page.get_by_role("button", name="Undo").is_enabled()


def test_a_layout_is_drawn_and_typed(page: Page, served: Live):
    """A box with the mouse, one by the button, changed by its numbers; a third is more than the model reads."""
    hands.choose(page, "files")
    page.get_by_text("Place objects").click()
    page.get_by_label("Class of the next box").select_option("star")
    hands.drag(page, page.locator(".board canvas"), (0.14, 0.14), (0.48, 0.61))
    page.get_by_role("button", name="Add a box").click()
    page.get_by_label("Class of box 2").select_option("ring")
    page.get_by_label("Box 2: left").fill("9")
    page.get_by_label("Box 2: width").fill("6")
    page.get_by_label("Box 2: width").blur()
    assert not page.get_by_role("button", name="Add a box").is_enabled()
    hands.draw(page)
    boxes = [{"label": "star", "bbox": [2, 2, 6, 8]}, {"label": "ring", "bbox": [9, 4, 6, 8]}]
    assert hands.jobs(served)[0]["options"]["layout"] == {"boxes": boxes, "width": 16, "height": 16}
    page.locator("#stage button.frame").click()
    page.get_by_label("Box 1: left").evaluate("(input) => (input.value = 0)")
    page.get_by_role("button", name="Use these settings").click()
    page.get_by_text("The settings of the picture are restored.").wait_for()
    assert [page.get_by_label(f"Box 2: {side}").input_value() for side in ("left", "top", "width", "height")] == list(
        "9468"
    )


def test_a_map_of_classes_is_painted(page: Page, served: Live):
    """With a box; at another size it is stretched to that."""
    hands.choose(page, "files")
    page.get_by_text("Paint a map of classes").click()
    page.get_by_role("radio", name="Box").check()
    page.get_by_role("radio", name="3", exact=True).check()
    hands.drag(page, page.locator(".board canvas"), (0.02, 0.02), (0.48, 0.98))
    page.get_by_label("Width", exact=True).last.fill("32")
    page.get_by_label("Width", exact=True).last.blur()
    hands.draw(page)
    (path,) = hands.jobs(served)[0]["inputs"]["semantic"]
    expected = np.zeros((16, 32), np.uint8)
    expected[:, :16] = 3
    assert np.array_equal(np.asarray(hands.opened(hands.content(served, path))), expected)
