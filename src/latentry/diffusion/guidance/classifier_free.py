"""Classifier-free guidance: joining two predictions of the same x_t into one."""

from __future__ import annotations

from torch import Tensor

from latentry.diffusion.contracts import Denoise, Denoisers
from latentry.diffusion.prediction import PREDICTIONS, Prediction
from latentry.diffusion.schedule import Level
from latentry.errors import UsageError


def classifier_free(
    denoisers: Denoisers, scale: float, rescale: float = 0.0, output: Prediction = PREDICTIONS["sample"]
) -> Denoise:
    """Step from the unconditional prediction through the conditional one, `scale` times as far.

    denoisers: gives x0 as (conditional, unconditional); (conditional,) is enough where scale is 1.
    scale: 1 is the conditional prediction itself, 0 the unconditional one, above 1 strengthens the condition.
    rescale: 0 to 1, how far the result's deviation is brought back to the conditional one's, measured on the network's
    `output`. Raises `UsageError` at the first call if the unconditional prediction is needed and missing.
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
        guided = unconditional + scale * (conditional - unconditional)
        return rescaled(x, guided, conditional, level, rescale, output) if rescale else guided

    return denoise


def rescaled(x: Tensor, guided: Tensor, conditional: Tensor, level: Level, share: float, output: Prediction) -> Tensor:
    """x0 whose network output has, by `share`, the deviation of the conditional one; of each image by itself.

    Source: Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", section 3.4, eq. 15 and 16.
    """

    def out(x0: Tensor) -> Tensor:
        return output.target(x0, (x - level.alpha * x0) / level.sigma, level.alpha, level.sigma)

    dims = tuple(range(1, x.ndim))
    whole = out(guided)
    ratio = out(conditional).std(dims, keepdim=True) / whole.std(dims, keepdim=True)
    return output.x0(x, (share * ratio + 1 - share) * whole, level.alpha, level.sigma)
