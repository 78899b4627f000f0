"""Exponential moving average of the trained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from latentry.devices import waits


class EMA:
    """Averages of named parameters: d = min(decay, (1 + n) / (10 + n)); shadow -= (1 - d) (shadow - weight).

    decay 0 < d < 1. n counts the updates, one per optimiser step. Source: CompVis latent-diffusion.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], decay: float) -> None:
        self.weights, self.decay = dict(weights), decay
        self.shadow = {name: w.detach().clone() for name, w in self.weights.items()}
        device = next(iter(self.shadow.values())).device
        self.updates = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(self, finite: Tensor | None = None) -> None:
        """Move every shadow towards its weight. finite: a bool on the device, not where the step was not applied."""
        shadows, weights = list(self.shadow.values()), [w.detach() for w in self.weights.values()]
        if not waits(self.updates.device):
            if finite is None or finite:
                self.updates += 1
                n = int(self.updates)
                torch._foreach_lerp_(shadows, weights, 1 - min(self.decay, (1 + n) / (10 + n)))
            return
        once = torch.ones_like(self.updates) if finite is None else finite
        self.updates += once
        share = (9 / (10 + self.updates)).clamp(min=1 - self.decay) * once  # 1 - d
        moves = torch._foreach_sub(weights, shadows)
        torch._foreach_mul_(moves, share)
        torch._foreach_add_(shadows, moves)

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
        return {**self.shadow, "updates": self.updates}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        self.updates.copy_(state["updates"])
        for name, shadow in self.shadow.items():
            shadow.copy_(state[name])
