"""Exponential moving average of the trained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Averages of named parameters: d = min(decay, (1 + n) / (10 + n)); shadow -= (1 - d) (shadow - weight).

    decay 0 < d < 1. n counts the updates, one per optimiser step. Source: CompVis latent-diffusion.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], decay: float) -> None:
        self.weights, self.decay, self.updates = dict(weights), decay, 0
        self.shadow = {name: w.detach().clone() for name, w in self.weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move every shadow towards its weight."""
        self.updates += 1
        d = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.shadow.values()), [w.detach() for w in self.weights.values()], 1 - d)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averaged weights in place of the raw ones, for the length of a `with`."""
        raw = {name: w.data for name, w in self.weights.items()}
        for name, w in self.weights.items():
            w.data = self.shadow[name]
        try:
            yield
        finally:
            for name, w in self.weights.items():
                w.data = raw[name]

    def state(self) -> dict[str, Tensor]:
        """Everything to save."""
        return {**self.shadow, "updates": torch.tensor(self.updates)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        self.updates = int(state["updates"])
        for name, shadow in self.shadow.items():
            shadow.copy_(state[name])
