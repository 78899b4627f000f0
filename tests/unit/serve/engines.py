"""Engines of models small enough for a test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from latentry.serve.engine.engine import Engine
from latentry.serve.engine.models import Models
from latentry.serve.engine.ticket import Ticket
from latentry.serve.options import ServeOptions
from tests.unit.pipeline import small_pipelines


def pipeline() -> Any:
    """Images of 16x16, of texts and classes."""
    return small_pipelines.pipeline()


@contextmanager
def engine(**options: Any) -> Iterator[Engine]:
    """One that draws with `small`."""
    made = Engine(Models({"small": pipeline}, keep=1), ServeOptions(**options))
    made.start()
    try:
        yield made
    finally:
        made.close(grace=0)
        made.join()


def ticket(seed: int = 0, key: str = "me", **options: Any) -> Ticket:
    """An image of one seed."""
    return Ticket(key, "small", options.pop("task", "generate"), {"text": "a red star", "seed": seed, **options})


def ended(one: Ticket, seconds: float = 60.0) -> Ticket:
    """The same, once nothing more happens to it."""
    over = threading.Event()
    one.listen(lambda event: over.set() if event.ticket.ended else None)
    assert over.wait(seconds), f"still {one.state}"
    return one
