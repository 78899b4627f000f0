"""What a person does with the page, and what the server then has."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.unit.serve.live import Live, picture, png

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Locator, Page


def photo() -> FilePayload:
    """16x16 pixels of noise, as a file to choose."""
    return {"name": "photo.png", "mimeType": "image/png", "buffer": picture()}


def choose(page: Page, model: str, task: str = "Generate") -> None:
    """A model and a task."""
    page.get_by_label("Model", exact=True).select_option(model)
    page.get_by_role("radio", name=task).check()


def draw(page: Page) -> None:
    """Ask for what the form says, and wait until it is there."""
    page.wait_for_selector(f'#stage[data-job="{submit(page)}"] button.frame img')


def submit(page: Page) -> str:
    """Ask for what the form says; the job that came of it."""
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        page.locator("#form button[type=submit]").click()
    return str(answer.value.json()["id"])


def drag(page: Page, canvas: Locator, *points: tuple[float, float]) -> None:
    """A stroke with the mouse, through points in shares of the canvas."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    for number, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=4)
        if not number:
            page.mouse.down()
    page.mouse.up()


def jobs(served: Live) -> list[dict[str, Any]]:
    """All that the server has of the page, the newest first."""
    with served.http() as client:
        found: list[dict[str, Any]] = client.get("/v1/jobs").json()["data"]
    return found


def content(served: Live, path: str) -> bytes:
    with served.http() as client:
        return client.get(path).content


def drop(page: Page, data: bytes, name: str) -> None:
    """A file dropped somewhere on the page."""
    page.evaluate(
        """([data, name]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(data)], name, { type: "image/png" }));
            const how = { dataTransfer: transfer, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new DragEvent("drop", how));
        }""",
        [list(data), name],
    )


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def told(text: dict[str, str]) -> bytes:
    """A picture whose file says something."""
    from PIL.PngImagePlugin import PngInfo

    image, info, buffer = Image.new("RGB", (8, 8)), PngInfo(), io.BytesIO()
    for name, value in text.items():
        info.add_itxt(name, value)
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue() if text else png(image)
