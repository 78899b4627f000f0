"""What is random in a step of the second stage, for each place by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from latentry import rng


class Draws(NamedTuple):
    """t (B,); noise (B, c, h, w); to be compared with probabilities of dropping: chances of each conditioner
    (conditioners, B), chance of all (B,); posterior (B, c, h, w), or None where latents are not drawn from one."""

    t: Tensor
    noise: Tensor
    chances: Tensor
    chance_all: Tensor
    posterior: Tensor | None

    def on(self, device: torch.device) -> Draws:
        """The same on a device; copies from page-locked memory are not waited for."""
        return self._each(lambda drawn: drawn.to(device, non_blocking=True))

    def pinned(self) -> Draws:
        """The same in page-locked memory."""
        return self._each(lambda drawn: drawn.pin_memory())

    def _each(self, call: Callable[[Tensor], Tensor]) -> Draws:
        posterior = None if self.posterior is None else call(self.posterior)
        return Draws(call(self.t), call(self.noise), call(self.chances), call(self.chance_all), posterior)


def draw(
    seed: int,
    stream: str,
    places: Sequence[int],
    step: int,
    shape: Sequence[int],
    *,
    times: int,
    conditioners: int,
    posterior: bool,
    together: bool,
) -> Draws:
    """The draws of a step, on the CPU; which of them are used changes none of the others.

    shape: of a latent, (c, h, w). times: t is below. posterior, together: whether these are used; what is not used is
    not drawn, unless it stands before something that is, and chances of all together are then 1.
    """
    rows = [rng.generator(seed, stream, place, step) for place in places]
    t = torch.tensor([int(row.integers(times)) for row in rows])
    chances = torch.tensor([[row.random() for _ in range(conditioners)] for row in rows])
    noise = rng.normal_of(rows, shape)
    drawn = rng.normal_of(rows, shape) if posterior or together else None
    chance_all = torch.tensor([row.random() if together else 1.0 for row in rows])
    return Draws(t, noise, chances.T, chance_all, drawn if posterior else None)
