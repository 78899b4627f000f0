"""Image guidance: towards samples that look like a given image after some transformation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise
from latentry.diffusion.process import spread
from latentry.diffusion.schedule import Level

PROBE = 0.1  # root mean square of what is added to x0, whose deviation is about 1
TINY = 1e-30
LogLikelihood = Callable[[Tensor], Tensor]
"""x0 (B, c, h, w) -> log p(y | x0) up to a constant, (B,), with a gradient to x0."""


def image(denoise: Denoise, log_likelihood: LogLikelihood, scale: float) -> Denoise:
    """Add scale (sigma^2 / alpha) grad log p(y | x0(x_t)), the gradient to x_t through the network, to x0.

    scale: 1 / variance of the guiding image where log p is minus half its squared distance. The step is never longer
    than to the highest log p on its line, as a parabola through it tells: a long one would overshoot and diverge.
    Nothing is added where alpha = 0, where x0 does not depend on x_t.
    Source: Rombach et al. 2022, appendix C, eq. 16 and 17, whose eps is (x_t - alpha x0) / sigma.
    """

    def guided(x: Tensor, level: Level) -> Tensor:
        if level.alpha == 0:
            return denoise(x, level)
        with torch.enable_grad():
            noisy = x.detach().requires_grad_()
            x0 = denoise(noisy, level)
            uphill, gradient = torch.autograd.grad(log_likelihood(x0).sum(), (x0, noisy))
        step = level.sigma**2 / level.alpha * gradient
        most = _highest(log_likelihood, x0.detach(), uphill, step)
        return x0.detach() + spread(most.clamp(max=scale), x) * step

    return guided


def _highest(log_likelihood: LogLikelihood, x0: Tensor, uphill: Tensor, step: Tensor) -> Tensor:
    """How many steps from x0 log p is highest on their line, (B,), infinite where it bends up.

    By the parabola with its slopes in x0, where its gradient is `uphill`, and a little way on.
    """

    def along(gradient: Tensor) -> Tensor:
        return (gradient * step).flatten(1).sum(1)

    way = PROBE / step.flatten(1).square().mean(1).sqrt().clamp(min=TINY)
    with torch.enable_grad():
        on = (x0 + spread(way, x0) * step).requires_grad_()
        (further,) = torch.autograd.grad(log_likelihood(on).sum(), on)
    bend = (along(uphill) - along(further)) / way
    return torch.where(bend > 0, along(uphill) / bend, torch.full_like(bend, torch.inf)).clamp(min=0)
