"""One server for the tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.serve.live import MODELS, Live, live


@pytest.fixture(scope="session")
def server() -> Iterator[Live]:
    """Of all small models."""
    with live(MODELS, keep=4, most_bytes=1_000_000, body_seconds=2) as running:
        yield running
