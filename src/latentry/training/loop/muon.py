"""Muon: steps by the orthogonal part of the momentum of each weight that is a matrix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

A, B, C = 3.4445, -4.7750, 2.0315
"""x -> A x + B x^3 + C x^5, five times, brings each singular value in (0.002, 1] to between 0.68 and 1.14."""
TIMES = 5
LEAST, TALL = 8, 8
"""A matrix has at least so many rows and columns: fewer are colours or channels of a latent. More than so many times
as many rows as columns are words of a vocabulary, of which a batch holds few."""


def is_matrix(weight: Tensor) -> bool:
    """Whether Muon is for this weight: a linear layer or a convolution, of (out, in, ...) as out x (in ...)."""
    if weight.ndim < 2:
        return False
    rows, columns = len(weight), weight[0].numel()
    return min(rows, columns) >= LEAST and rows <= TALL * columns


def orthogonal(x: Tensor) -> Tensor:
    """(N, R, K) -> the same: of each matrix U S V^T about U V^T, with A, B, C.

    The powers are of the smaller of x x^T and x^T x, so that only two products have the long side.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """
    if x.shape[1] > x.shape[2]:
        return orthogonal(x.mT).mT
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    square = x @ x.mT
    whole = once = _factor(square)
    for _ in range(TIMES - 1):
        square = once @ square @ once
        once = _factor(square)
        whole = once @ whole
    return whole @ x


def _factor(square: Tensor) -> Tensor:
    """What x is to be multiplied by, of x x^T."""
    identity = torch.eye(square.shape[-1], device=square.device, dtype=square.dtype)
    return A * identity + torch.baddbmm(square, square, square, beta=B, alpha=C)


class Muon(torch.optim.Optimizer):
    """For weights that are matrices (`is_matrix`); momentum is Nesterov's, `weight_decay` times lr is taken off first.

    found_inf: as of torch's fused optimisers, None or 1 on the device where this step is to change nothing, else 0.
    A step has the root mean square 0.2 lr, about that of AdamW, so that both go by the same lr.
    Source: Jordan et al. 2024; the height of a step: Liu et al. 2025, "Muon is scalable for LLM training", eq. 4.
    """

    found_inf: Tensor | None = None

    def __init__(
        self, weights: Sequence[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of every weight that has a gradient; those of one shape at once."""
        found = self.found_inf
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[len(weight), weight[0].numel()].append(weight)
            for shape, weights in alike.items():
                moved = self._momenta(weights, group["momentum"], found)
                steps = orthogonal(torch.stack([each.reshape(shape) for each in moved]))
                kept = 1 - group["lr"] * group["weight_decay"]
                if found is not None:
                    steps, kept = steps * (1 - found), 1 + (kept - 1) * (1 - found)
                if group["weight_decay"]:
                    torch._foreach_mul_(weights, kept)
                height = 0.2 * group["lr"] * max(shape) ** 0.5
                torch._foreach_sub_(
                    weights, [s.reshape(w.shape) for s, w in zip(steps, weights, strict=True)], alpha=height
                )

    def _momenta(self, weights: list[Tensor], momentum: float, found: Tensor | None) -> list[Tensor]:
        """The means of past gradients, seen from one step further."""
        for weight in weights:
            if "mean" not in self.state[weight]:
                self.state[weight]["mean"] = torch.zeros_like(weight)
        means = [self.state[weight]["mean"] for weight in weights]
        grads = [w.grad for w in weights if w.grad is not None]
        if found is not None:  # a mean is moved nowhere by itself
            grads = [torch.where(found > 0, mean, grad) for mean, grad in zip(means, grads, strict=True)]
        torch._foreach_lerp_(means, grads, 1 - momentum)
        return list(torch._foreach_lerp(grads, means, momentum))
