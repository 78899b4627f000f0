"""Image guidance: towards samples that look like a given image after some transformation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise
from latentry.diffusion.process import spread
from latentry.diffusion.schedule import Level

PROBE = 0.05  # root mean square of what is added to x0, whose deviation is about 1
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
            before = log_likelihood(x0)
            uphill, gradient = torch.autograd.grad(before.sum(), (x0, noisy))
        step = level.sigma**2 / level.alpha * gradient
        with torch.no_grad():
            most = _highest(log_likelihood, x0.detach(), before.detach(), uphill, step)
        return x0.detach() + spread(most.clamp(max=scale), x) * step

    return guided


def _highest(log_likelihood: LogLikelihood, x0: Tensor, before: Tensor, uphill: Tensor, step: Tensor) -> Tensor:
    """How many steps from x0 log p is highest on their line, (B,), infinite where it bends up.

    By the parabola of its height and slope in x0 and its height a little way on.
    """
    slope = (uphill * step).flatten(1).sum(1)
    length = step.flatten(1).square().mean(1).sqrt()
    way = PROBE / length.clamp(min=TINY)
    after = log_likelihood(x0 + spread(way, x0) * step)
    bend = (before + slope * way - after) / way**2  # log p is about before + slope s - bend s^2
    return torch.where(bend > 0, slope / (2 * bend), torch.full_like(slope, torch.inf)).clamp(min=0)
