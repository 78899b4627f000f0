"""The loss of the diffusion stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from latentry.diffusion.schedule import Schedule
from latentry.diffusion.weighting import WEIGHTINGS, Uniform, elbo_weights
from latentry.kinds import KindOptions, Options, build, choice

if TYPE_CHECKING:
    Weighting = KindOptions
else:
    Weighting = choice(WEIGHTINGS, "weightings")


class DiffusionObjectiveOptions(Options):
    """Options of the diffusion loss; the defaults are the published ones."""

    loss: Literal["l1", "l2"] = Field("l2", description="absolute or squared error")
    simple_weight: float = Field(1.0, ge=0, le=1e9, description="factor of the simple loss")
    elbo_weight: float = Field(0.0, ge=0, le=1e9, description="factor of the variational bound")
    learn_log_variance: bool = Field(False, description="train one log-variance per time")
    log_variance_init: float = Field(0.0, ge=-20, le=20, description="its first value, or its fixed one")
    weighting: Weighting = Field(default_factory=Uniform, description="how much each time counts")


class DenoisingLoss(NamedTuple):
    """What one batch gives. total: () to back-propagate. The others are (B,), before any mean, for the log.

    simple: the plain error, without weight and log-variance. elbo: the error times its weight in the bound.
    """

    total: Tensor
    simple: Tensor
    elbo: Tensor


class Objective:
    """The diffusion loss for one schedule and prediction (one of `PREDICTIONS`): tables, then a call."""

    def __init__(self, options: DiffusionObjectiveOptions, schedule: Schedule, prediction: str) -> None:
        self.options = options
        self.weights = build(WEIGHTINGS, options.weighting, schedule, prediction).float()  # (T,)
        self.elbo_weights = elbo_weights(schedule, prediction).float()  # (T,)

    def initial_log_variance(self) -> Tensor:
        """The log-variance to begin with, float32 (T,): a parameter to train if `learn_log_variance`."""
        return torch.full_like(self.weights, self.options.log_variance_init)

    def to(self, device: torch.device | str) -> Objective:
        """Move the tables, so that the loss needs no copy from the host."""
        self.weights, self.elbo_weights = self.weights.to(device), self.elbo_weights.to(device)
        return self

    def __call__(self, out: Tensor, target: Tensor, t: Tensor, log_variance: Tensor) -> DenoisingLoss:
        """The loss of a batch, in float32.

        out, target: (B, c, h, w), the network's output and `Prediction.target`. t: int64 (B,).
        log_variance: (T,), from `initial_log_variance` on, trained or not.
        Source: CompVis latent-diffusion; with the weighting w_t,
        simple_weight mean(w_t (error / exp(lv_t) + lv_t)) + elbo_weight mean(elbo_t error).
        """
        error = denoising_error(out, target, self.options.loss)  # (B,)
        log_var = log_variance[t]
        simple = self.weights[t] * (error / log_var.exp() + log_var)
        elbo = self.elbo_weights[t] * error
        total = self.options.simple_weight * simple.mean() + self.options.elbo_weight * elbo.mean()
        return DenoisingLoss(total, error, elbo)


def denoising_error(out: Tensor, target: Tensor, loss: str) -> Tensor:
    """Mean absolute ("l1") or squared ("l2") error of each sample, float32 (B,)."""
    difference = target.float() - out.float()
    return (difference.abs() if loss == "l1" else difference.square()).flatten(1).mean(1)
