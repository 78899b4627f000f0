"""If these fail, some request that anyone can send makes the server fail: schemathesis makes them of our OpenAPI."""

from __future__ import annotations

import os
import re
from pathlib import Path

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase

from tests.unit.serve.live import MODELS, Live, live

FEW, SOAK = 2, 10_000


def fuzz(running: Live, examples: int, folder: Path, seed: int = 0) -> int:
    """Send so many requests to each endpoint, fewer where there are not as many; how many there were. None may be
    answered by a 5xx but 503 and 507."""
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    sent = 0
    how = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]
        if operation.path.endswith("/events"):
            continue

        @hypothesis.seed(seed)
        @how
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            nonlocal sent
            sent += 1
            answer = case.call(timeout=60)
            assert answer.status_code < 500 or answer.status_code in (503, 507), answer.text
            assert not re.search(rf"Traceback|/\S+\.py\b|{re.escape(str(folder))}", answer.text)  # not names of fields

        ask()
    return sent


def test_no_request_makes_it_fail(server: Live):
    assert fuzz(server, FEW, server.folder.parent) > 20


@pytest.mark.soak
def test_ten_thousand_requests_make_it_not_fail_nor_grow():
    """Memory and open files after them are what they were after the first thousand."""
    with live(MODELS, keep=4, most_steps=4, most_images=2, most_pixels=4096) as running:
        endpoints = len(list(schemathesis.openapi.from_url(f"{running.url}/openapi.json").get_all_operations()))
        fuzz(running, 1000 // endpoints, running.folder.parent)
        memory, files = resident(), len(list(Path("/proc/self/fd").iterdir()))
        sent = seed = 0
        while sent < SOAK:
            sent, seed = sent + fuzz(running, SOAK // endpoints, running.folder.parent, seed + 1), seed + 1
        assert resident() - memory < 100_000_000
        assert len(list(Path("/proc/self/fd").iterdir())) <= files + 10


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
