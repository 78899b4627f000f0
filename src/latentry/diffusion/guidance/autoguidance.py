"""Autoguidance: away from a worse version of the model itself."""

from __future__ import annotations

from torch import Tensor

from latentry.diffusion.contracts import Denoise, Denoisers
from latentry.diffusion.schedule import Level


def beside(main: Denoise, worse: Denoise) -> Denoisers:
    """Both predictions, of the model and of a worse one, as guidance takes them: the worse one where the unconditional
    one would stand. Both under the same condition, or under none.

    What they differ in is where the worse one errs, so that it also guides models without conditions.
    Source: Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", section 4.
    """

    def denoisers(x: Tensor, level: Level) -> tuple[Tensor, ...]:
        return main(x, level), worse(x, level)

    return denoisers
