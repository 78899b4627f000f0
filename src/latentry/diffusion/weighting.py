"""How much each time counts in the loss: tables over t."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from latentry.diffusion.process import posterior_variance
from latentry.diffusion.schedule import Schedule
from latentry.kinds import Kind, KindOptions


class Uniform(KindOptions):
    """Every time counts the same."""

    kind: Literal["uniform"] = "uniform"


class MinSNR(KindOptions):
    """min(SNR, gamma) in units of x0's error, so that no time dominates (Hang et al. 2023)."""

    kind: Literal["min_snr"] = "min_snr"
    gamma: float = Field(5.0, gt=0, le=1e9, description="signal-to-noise ratio above which a time counts no more")


def _uniform(options: Uniform, schedule: Schedule, prediction: str) -> Tensor:
    return torch.ones_like(schedule.abar)


def _min_snr(options: MinSNR, schedule: Schedule, prediction: str) -> Tensor:
    snr = schedule.snr
    clipped = snr.clamp(max=options.gamma)
    if prediction == "regression":
        return torch.ones_like(snr)  # there is one time, and no noise
    if prediction == "epsilon":
        return (options.gamma / snr).clamp(max=1)  # min(SNR, gamma) / SNR, also where SNR is 0
    return clipped if prediction == "sample" else clipped / (snr + 1)


WEIGHTINGS = {"uniform": Kind(Uniform, _uniform), "min_snr": Kind(MinSNR, _min_snr)}


def elbo_weights(schedule: Schedule, prediction: str) -> Tensor:
    """Weights of the variational bound for every t, float64 (T,), with w_0 := w_1.

    epsilon: beta^2 / (2 var alpha (1 - abar)), var the posterior's variance, alpha = 1 - beta (Ho et al. 2020, eq. 12).
    sample: 0.5 sqrt(abar) / (2 - abar), the published code's own form, which is not the bound.
    velocity: unpublished there; abar times epsilon's, since alpha^2 |v error|^2 = |eps error|^2.
    """
    if prediction in ("sample", "regression"):
        weights = 0.5 * schedule.abar.sqrt() / (2 - schedule.abar)
    else:
        kept = schedule.abar_before if prediction == "velocity" else 1 / (1 - schedule.betas)
        weights = schedule.betas**2 * kept / (2 * posterior_variance(schedule) * (1 - schedule.abar))
    return torch.cat([weights[1:2], weights[1:]])
