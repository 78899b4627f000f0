"""Work beside the engine, in threads that end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def apart(function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What the function returns, of a thread that ends with it.

    A thread that ever computed in parallel keeps its helpers. While threads and helpers of a process are more than its
    processors, libgomp lets all of them sleep between two operations where they would wait at the ready, and the
    engine, whose operations are short, is a fifth slower.
    """
    with ThreadPoolExecutor(1, "apart") as pool:
        return pool.submit(function, *args, **named).result()


async def aside(function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """The same, while other requests are answered; no more at once than `asyncio.to_thread` does."""
    return await asyncio.to_thread(lambda: apart(function, *args, **named))
