"""One optimiser with its gradients' sum over processes, clipping, learning-rate shape and exact state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from latentry.devices import waits
from latentry.training.loop.muon import Muon, is_matrix
from latentry.training.loop.world import World
from latentry.training.recipe.training import StageTraining

Weights = list[nn.Parameter]


def _fused(weights: Weights) -> bool | None:
    return weights[0].device.type in FUSED or None if weights else None


def _adam(kind: type[torch.optim.Adam], weights: Weights, t: StageTraining, lr: float) -> list[torch.optim.Optimizer]:
    fused = _fused(weights)
    return [kind(weights, lr=lr, betas=t.betas, weight_decay=t.weight_decay, fused=fused)] if weights else []


def _muon(weights: Weights, t: StageTraining, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for matrices, AdamW for all else."""
    matrices = [w for w in weights if is_matrix(w)]
    rest = _adam(torch.optim.AdamW, [w for w in weights if not is_matrix(w)], t, lr)
    return [Muon(matrices, lr, weight_decay=t.weight_decay), *rest] if matrices else rest


FUSED = ("cpu", "cuda")
"""Devices on which one kernel steps all weights, several times as fast, or none where `found_inf` says so."""
OPTIMISERS: dict[str, Callable[[Weights, StageTraining, float], list[torch.optim.Optimizer]]] = {
    "adamw": partial(_adam, torch.optim.AdamW),
    "adam": partial(_adam, torch.optim.Adam),
    "muon": _muon,
    "sgd": lambda weights, _, lr: [torch.optim.SGD(weights, lr=lr, fused=_fused(weights))],
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
        self.norms: tuple[list[str], Tensor] = ([], torch.zeros(0))
        self.optimisers = OPTIMISERS[training.optimiser](list(self.weights.values()), training, lr)

    def rate(self, step: int) -> float:
        """The learning rate in force at `step` (from 0)."""
        return self.lr * rate_factor(step, self.training)

    def bad_gradients(self) -> Callable[[], list[str]]:
        """Tells the weights, in order, whose gradients were not finite when they were last reduced."""
        names, norms = self.norms
        return lambda: [name for name, fine in zip(names, norms.isfinite().tolist(), strict=True) if not fine]

    def zero(self) -> None:
        """Forget all gradients."""
        for weight in self.weights.values():
            weight.grad = None

    def reduce(self) -> Tensor:
        """Sum gradients over processes, then return their L2 norm (a scalar tensor; not finite if any is not)."""
        named = {name: w.grad for name, w in self.weights.items() if w.grad is not None}
        grads = list(named.values())
        if self.world.size > 1:
            flat = torch.cat([g.flatten() for g in grads])
            self.world.sum_(flat)
            for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
                grad.copy_(part.view_as(grad))
        self.norms = list(named), torch.stack(torch._foreach_norm(grads))
        return torch.linalg.vector_norm(self.norms[1])

    def step(self, step: int, norm: Tensor, finite: Tensor | None = None) -> None:
        """Apply the gradients at the rate of this step, clipped to `clip` if their norm exceeds it, and forget them.

        finite: whether they are applied at all, a bool on the device like `norm`; both stay there if looking at them
        means waiting.
        """
        waiting = waits(norm.device)
        if waiting or finite is None or bool(finite):
            self._clip(norm)
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = self.rate(step)
                not_applied = None if finite is None or not waiting else (~finite).float()
                optimiser.found_inf = not_applied  # type: ignore[attr-defined]
                optimiser.step()
        self.zero()

    def _clip(self, norm: Tensor) -> None:
        clip, grads = self.training.clip, [w.grad for w in self.weights.values() if w.grad is not None]
        if clip is None:
            return
        if waits(norm.device):
            torch._foreach_mul_(grads, (clip / norm).clamp(max=1.0))
        elif float(norm) > clip:
            torch._foreach_mul_(grads, clip / float(norm))

    def state(self) -> dict[str, Tensor]:
        """Everything to save: `WEIGHT/KEY` for each entry of the optimiser's state."""
        states = [optimiser.state for optimiser in self.optimisers]
        return {
            f"{n}/{k}": torch.as_tensor(v)
            for n, w in self.weights.items()
            for state in states
            for k, v in state.get(w, {}).items()
            if v is not None
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        states = {w: o.state[w] for o in self.optimisers for group in o.param_groups for w in group["params"]}
        for key, value in state.items():
            name, entry = key.rsplit("/", 1)
            weight = self.weights[name]
            if value.shape == weight.shape and value.ndim:
                value = torch.empty_like(weight, dtype=value.dtype).copy_(value)  # in the weight's memory format
            fused = weight.device.type in FUSED
            states[weight][entry] = value.to(weight.device if value.ndim or fused else "cpu")
