"""One optimiser with its gradients' sum over processes, clipping, learning-rate shape and exact state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from latentry.training.loop.world import World
from latentry.training.recipe.training import StageTraining

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}


def rate_factor(step: int, training: StageTraining) -> float:
    """The learning rate at `step` (from 0) as a share of its full height."""
    if step < training.warmup:
        return (step + 1) / (training.warmup + 1)
    if training.decay == "constant":
        return 1.0
    end = training.decay_steps or training.steps
    done = min(1.0, (step - training.warmup) / max(1, end - training.warmup))
    shape = 1 - done if training.decay == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return training.lr_end + (1 - training.lr_end) * shape


class Updater:
    """Steps named weights with gradients summed over processes."""

    def __init__(self, weights: Mapping[str, nn.Parameter], training: StageTraining, lr: float, world: World) -> None:
        self.weights, self.training, self.lr, self.world = dict(weights), training, lr, world
        options: dict[str, Any] = {"lr": lr}
        self.fused = training.optimiser != "sgd" and world.device.type in ("cpu", "cuda")  # several times as fast
        if training.optimiser != "sgd":
            options |= {"betas": training.betas, "weight_decay": training.weight_decay, "fused": self.fused}
        self.optimiser = OPTIMISERS[training.optimiser](list(self.weights.values()), **options)

    def rate(self, step: int) -> float:
        """The learning rate in force at `step` (from 0)."""
        return self.lr * rate_factor(step, self.training)

    def bad_gradients(self) -> list[str]:
        """The weights, in order, whose gradient of the last step is there and not finite."""
        return [n for n, w in self.weights.items() if w.grad is not None and not bool(torch.isfinite(w.grad).all())]

    def zero(self) -> None:
        """Forget all gradients."""
        self.optimiser.zero_grad(set_to_none=True)

    def reduce(self) -> Tensor:
        """Sum gradients over processes, then return their L2 norm (a scalar tensor; not finite if any is not)."""
        grads = [w.grad for w in self.weights.values() if w.grad is not None]
        if self.world.size > 1:
            flat = torch.cat([g.flatten() for g in grads])
            self.world.sum_(flat)
            for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
                grad.copy_(part.view_as(grad))
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))

    def step(self, step: int, norm: float) -> None:
        """Apply the gradients at the rate of this step, clipped to `clip` if their norm exceeds it, and forget them."""
        clip = self.training.clip
        if clip is not None and norm > clip:
            torch._foreach_mul_([w.grad for w in self.weights.values() if w.grad is not None], clip / norm)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(step)
        self.optimiser.step()
        self.zero()

    def state(self) -> dict[str, Tensor]:
        """Everything to save: `WEIGHT/KEY` for each entry of the optimiser's state."""
        states = self.optimiser.state
        return {
            f"{n}/{k}": torch.as_tensor(v)
            for n, w in self.weights.items()
            for k, v in states.get(w, {}).items()
            if v is not None
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        for key, value in state.items():
            name, entry = key.rsplit("/", 1)
            weight = self.weights[name]
            if value.shape == weight.shape and value.ndim:
                value = torch.empty_like(weight, dtype=value.dtype).copy_(value)  # in the weight's memory format
            self.optimiser.state[weight][entry] = value.to(weight.device if value.ndim or self.fused else "cpu")
