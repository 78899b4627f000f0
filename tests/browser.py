"""Headless Chromium for the tests of pages, driven through Playwright; skipped with the reason where one is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",  # tests run as root on some machines, where Chromium's sandbox refuses to
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""Nothing is asked of any network but what a page asks for."""


def chromium() -> str | None:
    """The system's Chromium: the program that LATENTRY_CHROMIUM names, or the first of the usual ones."""
    return next(filter(None, map(shutil.which, (os.environ.get("LATENTRY_CHROMIUM", ""), *NAMES))), None)


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser of its own for each test; it ends with the test."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install playwright")
    program = chromium()
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or name one in LATENTRY_CHROMIUM")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()
