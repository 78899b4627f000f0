"""The shapes of the pieces that meet in sampling: denoisers, noise and solvers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from latentry.diffusion.schedule import Level

Denoise = Callable[[Tensor, Level], Tensor]
"""(x_t (B, c, h, w), level) -> predicted x0."""

Denoisers = Callable[[Tensor, Level], tuple[Tensor, ...]]
"""(x_t, level) -> x0 of the same x_t under each Cond, in one network call; the conditional one first."""

Noise = Callable[[int], Tensor]
"""Step index -> standard normal noise shaped like x; called once per step whether used or not."""


class Step(NamedTuple):
    """What a solver yields: x at `level`, reached by step `index`, and the x0 predicted on the way there."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which no one needs here
    level: Level
    x: Tensor
    x0: Tensor


class Solver(Protocol):
    """Walks x from the first level to the last, one `Step` per pair of levels."""

    def __call__(self, denoise: Denoise, x: Tensor, levels: Sequence[Level], *, noise: Noise) -> Iterator[Step]: ...
