"""What a denoiser's output means, and how x0 is read from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from latentry.diffusion.process import spread
from latentry.diffusion.schedule import Schedule
from latentry.errors import UsageError

Scale = float | Tensor


@dataclass(frozen=True)
class Prediction:
    """One meaning of the output. alpha and sigma: numbers, (B,), or anything that broadcasts with x.

    target: (x0, eps, alpha, sigma) -> what the output should be.
    x0: (x_t, out, alpha, sigma) -> the clean latent that the output claims.
    regresses: x0 is predicted from the conditions alone, in one step: the network sees zeros at the last time.
    """

    target: Callable[[Tensor, Tensor, Scale, Scale], Tensor]
    x0: Callable[[Tensor, Tensor, Scale, Scale], Tensor]
    regresses: bool = False


def _epsilon_target(x0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return eps


def _epsilon_x0(x: Tensor, out: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return (x - spread(sigma, x) * out) / spread(alpha, x)


def _sample_target(x0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return x0


def _sample_x0(x: Tensor, out: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return out


def _velocity_target(x0: Tensor, eps: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    # v = alpha eps - sigma x0 (Salimans and Ho 2022, appendix D)
    return spread(alpha, x0) * eps - spread(sigma, x0) * x0


def _velocity_x0(x: Tensor, out: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    # alpha x - sigma v = (alpha^2 + sigma^2) x0, whatever the path
    alpha, sigma = spread(alpha, x), spread(sigma, x)
    return (alpha * x - sigma * out) / (alpha**2 + sigma**2)


PREDICTIONS = {
    "epsilon": Prediction(_epsilon_target, _epsilon_x0),
    "sample": Prediction(_sample_target, _sample_x0),
    "velocity": Prediction(_velocity_target, _velocity_x0),
    "regression": Prediction(_sample_target, _sample_x0, regresses=True),
}


def check_prediction(schedule: Schedule, prediction: str) -> None:
    """Refuse an epsilon model on a schedule that reaches alpha = 0, where noise alone says nothing of x0."""
    if prediction == "epsilon" and bool((schedule.abar == 0).any()):
        raise UsageError(
            "prediction: epsilon on a schedule whose last level is pure noise (alpha = 0), where x0 cannot be computed "
            "from it; accepted there: sample, velocity. Use `prediction: velocity`, or a schedule that ends above 0."
        )
