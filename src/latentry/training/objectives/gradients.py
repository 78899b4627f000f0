"""Gradients that are taken once and used several times, and averaged over processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from latentry.nn.patchgan import processes

FLOOR = 1e-4
LARGEST_WEIGHT = 1e4


def once(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The scalar function(x), with its gradient at x already taken.

    Backward passes through the result cost nothing, so the adaptive weight and the update share one pass through the
    perceptual network and the discriminator, and the memory of that pass is free again before the decoder's. No
    parameter inside `function` receives a gradient.
    """
    if not (torch.is_grad_enabled() and x.requires_grad):
        return function(x)
    leaf = x.detach().requires_grad_()
    value = function(leaf)
    (gradient,) = torch.autograd.grad(value, leaf)
    return _Known.apply(x, value.detach(), gradient)  # type: ignore[no-untyped-call]


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, _: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return outer * gradient, None, None


def adaptive_weight(nll: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """|gradient of nll| / |gradient of adversarial| at the decoder's last weights (Esser et al. 2021, equation 7).

    Both gradients are averaged over the processes first, so that all use the weight of the whole batch. 0 where
    nothing is differentiated (validation).
    """
    if not (torch.is_grad_enabled() and nll.requires_grad):
        return torch.zeros_like(nll)
    gradients = [torch.autograd.grad(term, last_layer, retain_graph=True)[0] for term in (nll, adversarial)]
    if processes() > 1:
        for gradient in gradients:
            dist.all_reduce(gradient)
            gradient /= processes()
    of_nll, of_adversarial = (gradient.float().norm() for gradient in gradients)
    return (of_nll / (of_adversarial + FLOOR)).clamp(0.0, LARGEST_WEIGHT).detach()
