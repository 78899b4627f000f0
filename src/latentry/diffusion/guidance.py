"""Guidance: joining several predictions of the same x_t into one."""

from __future__ import annotations

from torch import Tensor

from latentry.diffusion.contracts import Denoise, Denoisers
from latentry.diffusion.schedule import Level
from latentry.errors import UsageError


def classifier_free(denoisers: Denoisers, scale: float) -> Denoise:
    """Step from the unconditional prediction through the conditional one, `scale` times as far.

    denoisers: gives x0 as (conditional, unconditional); (conditional,) is enough where scale is 1.
    scale: 1 is the conditional prediction itself, 0 the unconditional one, above 1 strengthens the condition.
    Raises `UsageError` at the first call if the unconditional prediction is needed and missing.
    Source: Ho and Salimans 2022, eq. 6. Mixing x0 is mixing eps, for x0 is affine in eps while alpha > 0.
    """

    def denoise(x: Tensor, level: Level) -> Tensor:
        predicted = denoisers(x, level)
        if scale == 1:
            return predicted[0]
        if len(predicted) != 2:
            raise UsageError(
                f"guidance: scale {scale:g} with {len(predicted)} prediction(s); accepted are two, conditional and "
                "unconditional, or scale 1. Give a condition, or use guidance 1."
            )
        conditional, unconditional = predicted
        return unconditional + scale * (conditional - unconditional)

    return denoise


def clipped(denoise: Denoise, low: float = -1.0, high: float = 1.0) -> Denoise:
    """Hold every predicted x0 inside [low, high], where x0 is an image itself (Ho et al. 2020)."""
    return lambda x, level: denoise(x, level).clamp(low, high)
