"""New images from conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latentry.errors import UsageError, did_you_mean

MOST_IMAGES, MOST_PIXELS = 1_000_000, 16_384


@dataclass(frozen=True)
class Request:
    """What is to be drawn. values: for each condition one value an image; seeds: one an image; size: (H, W) pixels."""

    values: Mapping[str, Sequence[Any]]
    seeds: Sequence[int]
    size: tuple[int, int]


def generate(
    conditions: Mapping[str, Any], known: Sequence[str], *, n: int, seed: int, size: tuple[int, int]
) -> Request:
    """`n` images for each of the given values; image i has seed + i.

    conditions: name -> one value, a list of values, or None where nothing is asked; lists must be equally long. A value
    that is a list itself (the tokens of a layout) stands in a list; a tuple is several values if they are texts or
    numbers, else one (an image with its mask).
    known: the conditions the model takes. Raises UsageError for a condition it does not take.
    """
    asked = {name: value for name, value in conditions.items() if value is not None}
    for name in asked:
        if name not in known:
            takes = ", ".join(known) or "none"
            raise UsageError(
                f"{name}: this model takes no such condition; it takes: {takes}{did_you_mean(name, known)}. "
                "Leave it out."
            )
    if n < 1:
        raise UsageError(f"n: {n}; ask for at least one image")
    if max(size) > MOST_PIXELS:
        raise UsageError(f"size: {size[0]}x{size[1]}; sides are at most {MOST_PIXELS} pixels")
    if seed < 0:
        raise UsageError(f"seed: {seed}; seeds are 0 or above")
    lists = {name: list(v) if _is_several(v) else [v] for name, v in asked.items()}
    count = max((len(v) for v in lists.values()), default=1)
    if count * n > MOST_IMAGES:
        raise UsageError(f"n: {count * n} images at once; ask for at most {MOST_IMAGES} at a time")
    for name, given in lists.items():
        if len(given) not in (1, count):
            raise UsageError(f"{name}: {len(given)} values where others have {count}; give one, or as many")
    values = {name: [v[i % len(v)] for i in range(count) for _ in range(n)] for name, v in lists.items()}
    return Request(values, [seed + i for i in range(count * n)], size)


def _is_several(value: Any) -> bool:
    plain = isinstance(value, tuple) and all(isinstance(part, str | int | None) for part in value)
    return isinstance(value, list) or plain
