"""How much of a file may be taken into memory, and which of its pages are meant."""

from __future__ import annotations

from typing import Literal, NamedTuple

PIXEL_LIMIT = 89_478_485
BYTE_LIMIT = 2**28
"""256 MiB: the pixel limit in 8-bit RGB."""
Pages = Literal["auto", "first", "each", "bands"]


class Limits(NamedTuple):
    """pixels: most that a picture may have. bytes: most that its decoded values may take. pages: of a stack, `first` is
    its first image, `each` all of them, `bands` all of its pages as the bands of one; `auto` is what its axes say."""

    pixels: int = PIXEL_LIMIT
    bytes: int = BYTE_LIMIT
    pages: Pages = "auto"


def limits_of(limit: int | Limits) -> Limits:
    """A number is the limit of pixels alone."""
    return limit if isinstance(limit, Limits) else Limits(limit)
