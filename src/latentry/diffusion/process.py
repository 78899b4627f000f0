"""The forward process q and its posterior, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from latentry.diffusion.schedule import Schedule


def spread(values: float | Tensor, like: Tensor) -> float | Tensor:
    """Per-sample values (B,) as (B, 1, 1, ...) of `like`'s rank; numbers and tensors of another rank as they are.

    Without this a (B,) tensor would silently broadcast over the width of an image whose width is B.
    """
    if isinstance(values, Tensor) and values.ndim == 1:
        return values.view(-1, *[1] * (like.ndim - 1))
    return values


def q_sample(x0: Tensor, eps: Tensor, alpha: float | Tensor, sigma: float | Tensor) -> Tensor:
    """x_t = alpha x0 + sigma eps. alpha, sigma: numbers or (B,). Source: Ho et al. 2020, eq. 4."""
    return spread(alpha, x0) * x0 + spread(sigma, x0) * eps


def posterior_mean(schedule: Schedule, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Mean of q(x_{t-1} | x_t, x0), in the dtype of x_t. t: int64 (B,). Source: Ho et al. 2020, eq. 7."""
    exact = schedule.exact
    abar, before, beta = (table[t.cpu()] for table in (exact.abar, exact.abar_before, exact.betas))
    of_x0 = beta * before.sqrt() / (1 - abar)
    of_x_t = (1 - before) * (1 - beta).sqrt() / (1 - abar)
    return spread(of_x0.to(x_t), x_t) * x0 + spread(of_x_t.to(x_t), x_t) * x_t


def posterior_variance(schedule: Schedule) -> Tensor:
    """Variance of an ancestral step for every t, float64 (T,): of q(x_{t-1} | x_t, x0), which is 0 at t = 0.

    With the schedule's `v_posterior` v it is (1 - v) of that and v beta_t.
    Source: Ho et al. 2020, eq. 7 and section 3.2.
    """
    exact, v = schedule.exact, schedule.v_posterior
    posterior = exact.betas * (1 - exact.abar_before) / (1 - exact.abar)
    return (1 - v) * posterior + v * exact.betas if v else posterior


def posterior_log_variance(schedule: Schedule) -> Tensor:
    """Its logarithm, float64 (T,), clipped at log(1e-20) because the variance at t = 0 is 0."""
    return torch.log(posterior_variance(schedule).clamp(min=1e-20))
