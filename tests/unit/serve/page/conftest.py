"""A server of small models, and its page in a browser that notices what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.unit.serve.live import MODELS, Live, live
from tests.unit.serve.toy import slow_pipeline

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

WIDE = {"width": 1400, "height": 900}


@pytest.fixture(scope="session")
def served() -> Iterator[Live]:
    """Of a model of words and classes, of one of layouts and maps, of one for larger images, and of a slow one."""
    models = {name: MODELS[name] for name in ("small", "files", "low")}
    with live({**models, "slow": slow_pipeline}, keep=4, batch=1) as running:
        yield running


@pytest.fixture
def page(browser: Browser, served: Live) -> Iterator[Page]:
    """The page, opened, of a server without jobs. Nothing may fail in it, or be asked of another machine."""
    clear(served)
    page = browser.new_page(viewport=WIDE)  # type: ignore[arg-type]
    troubles = watched(page, served.url)
    page.goto(served.url)
    page.wait_for_selector("#form button[type=submit]")
    yield page
    page.close()
    assert troubles == []


def clear(served: Live) -> None:
    """Cancel and remove all jobs."""
    with served.http() as client:
        while ids := [job["id"] for job in client.get("/v1/jobs").json()["data"]]:
            for id_ in ids:
                client.delete(f"/v1/jobs/{id_}")


def watched(page: Page, url: str) -> list[str]:
    """What goes wrong in a page from now on."""
    troubles: list[str] = []
    page.on("console", lambda said: troubles.append(said.text) if is_trouble(said) else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "request", lambda asked: None if asked.url.startswith((url, "data:", "blob:")) else troubles.append(asked.url)
    )
    return troubles


def is_trouble(said: ConsoleMessage) -> bool:
    """An error or a warning; but for refusals, which browsers log and the page tells."""
    return said.type in ("error", "warning") and not any(
        f"a status of {refusal}" in said.text for refusal in (400, 401)
    )
