"""What a consistency model is taught: two points of one path, some way apart, have the same clean end."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentry.diffusion.process import spread
from latentry.diffusion.schedule import Schedule

CLEAN = -1
"""The time of the clean end, where a consistency function is the identity and no network is asked."""
HALF = math.pi / 2


def gap(step: int, steps: int, halvings: int, hold: float) -> float:
    """The share of the way to clean that lies between the two points, at a step (from 0) of so many.

    It begins at 1, which is the diffusion loss, and is halved `halvings` times at even distances. hold: the share of
    the steps, in [0, 1), that are then left for the least of them.
    Source: Geng et al. 2024, "Consistency models made easy", eq. 11 with q = 2.
    """
    done = step / (steps * (1 - hold))
    return 2.0 ** -min(int(halvings * done + 1e-9), halvings)


def angles(schedule: Schedule) -> Tensor:
    """arctan(sigma/alpha) of every time, float64 (T,), rising to pi/2 at most: how far x_t is on its way to noise.

    x_t turns at an even pace with it, and it is finite at pure noise, where sigma/alpha is not.
    """
    return torch.atan2((1 - schedule.abar).sqrt(), schedule.abar.sqrt())


def log_ratios(schedule: Schedule) -> Tensor:
    """log(sigma/alpha) of every time, float64 (T,), rising; infinite at pure noise."""
    return ((1 - schedule.abar) / schedule.abar).log() / 2


def times(log_ratios: Tensor, drawn: Tensor, mean: float, deviation: float) -> Tensor:
    """The first times, int64 (B,), where log(sigma/alpha) is at least mean + deviation * drawn; else the last there is.

    log_ratios: (T,), from `log_ratios`. drawn: standard normal (B,). By evenly drawn times too few would lie so near to
    the clean end, which all others are anchored to, that the whole drifts off.
    Source: Karras et al. 2022, table 1, as of Geng et al. 2024, section 4.1.
    """
    return torch.searchsorted(log_ratios, mean + deviation * drawn).clamp(max=len(log_ratios) - 1)


def nearer(angles: Tensor, t: Tensor, gap: float) -> Tensor:
    """The time r < t, int64 (B,), that lies by this share of t's angle nearer to the clean end, or CLEAN.

    angles: (T,), from `angles`, on t's device. t: int64 (B,). At least one time lies between the two.
    """
    wanted = angles[t] * (1 - gap)
    return torch.minimum(torch.searchsorted(angles, wanted, right=True) - 1, t - 1)


def moved(x: Tensor, x0: Tensor, now: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]) -> Tensor:
    """x (B, c, h, w) of one time at another on the same path, for this x0; now, then: alpha and sigma, each (B,).

    With the x0 that x was made of it is the same noise at another time; with a denoiser's it is a step of DDIM.
    """
    (alpha, sigma), (alpha_then, sigma_then) = now, then
    return spread(alpha_then, x) * x0 + spread(sigma_then / sigma, x) * (x - spread(alpha, x) * x0)


def consistency_loss(x0: Tensor, target: Tensor, sigma: Tensor, huber: float) -> Tensor:
    """Pseudo-Huber distance of both clean ends over sigma, (B,): (sqrt(|x0 - target|^2 + c^2) - c) / sigma_t.

    sigma: (B,), by which an error of the network's output reaches x0. huber: c / sqrt(D); near 0 the distance is the
    length, far above it the square.
    Source: Song and Dhariwal 2023, "Improved techniques for training consistency models", sections 3.3 and 3.4.
    """
    c = huber * math.sqrt(x0[0].numel())
    squared = (x0.float() - target.float()).flatten(1).square().sum(1)
    return ((squared + c**2).sqrt() - c) / sigma
