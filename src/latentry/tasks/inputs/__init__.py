"""What tasks read from files: images, masks, layouts, maps, arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from latentry.errors import LatentryError
from latentry.tasks.inputs import arrays, layouts

READERS: dict[str, Callable[[Any], Any]] = {
    "layout": layouts.layouts,
    "semantic": arrays.semantic_maps,
    "embedding": arrays.embeddings,
}
"""For conditions that may be given as files: what is given, to what the options hold."""


def read(name: str, value: Any) -> Any:
    """The value of a condition, read where it is a file. Raises ValueError, one line, for what cannot be read."""
    try:
        return None if value is None else READERS[name](value)
    except LatentryError as error:
        raise ValueError(str(error).removeprefix(f"{name}: ")) from None
