"""Classifier guidance: towards what a classifier of noisy latents says is more probable."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise
from latentry.diffusion.schedule import Level

LogProbability = Callable[[Tensor, Level], Tensor]
"""(x_t (B, c, h, w), level) -> log p(y | x_t), (B,), with a gradient to x_t."""


def classifier(denoise: Denoise, log_probability: LogProbability, scale: float) -> Denoise:
    """Add scale (sigma^2 / alpha) grad log p(y | x_t) to x0: by Bayes and Tweedie, with scale 1, E[x0 | x_t, y].

    scale: above 1 samples as if p(y | x) were raised to it. Where alpha = 0, x_t says nothing of y, and nothing is
    added. Source: Dhariwal and Nichol 2021, algorithm 2, whose eps is (x_t - alpha x0) / sigma.
    """

    def guided(x: Tensor, level: Level) -> Tensor:
        x0 = denoise(x, level)
        if level.alpha == 0:
            return x0
        with torch.enable_grad():
            noisy = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_probability(noisy, level).sum(), noisy)
        return x0 + scale * level.sigma**2 / level.alpha * gradient

    return guided
