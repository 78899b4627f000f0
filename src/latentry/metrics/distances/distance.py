"""What a distance is: an entry of the table `DISTANCES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from torch import Tensor

from latentry.metrics.distances.moments import Moments


@dataclass(frozen=True)
class Distance:
    """One or some numbers of two sets of vectors.

    inception, other: how its number is called in Inception's features, and in all others; only the first are the
    published FID, KID and MIND. compute: vectors of the reference (N, D) and of the generated (M, D) to its numbers
    by name; "" is its own. enough: how many vectors it needs to mean something, of their width. lowest, highest: of its
    numbers. moments: the number from moments, which every image takes part in, or None where it needs vectors.
    """

    inception: str
    other: str
    compute: Callable[[Tensor, Tensor], Mapping[str, float]]
    enough: Callable[[int], int]
    lowest: float = -inf
    highest: float = inf
    moments: Callable[[Moments, Moments], float] | None = None

    def named(self, part: str, tag: str) -> str:
        """What its number is called: `FID[inception:67268…]`, `recall[squeezenet:b8a52…]`."""
        return f"{part or (self.inception if tag.startswith('inception:') else self.other)}[{tag}]"
