"""What a recipe says of the first stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from latentry.bounds import Rate
from latentry.models.config import AutoencoderOptions
from latentry.training.objectives.options import ObjectiveOptions
from latentry.training.recipe.training import Beta, StageTraining


class AutoencoderTraining(StageTraining):
    """First stage: both optimisers use betas (0.5, 0.9) as published."""

    betas: tuple[Beta, Beta] = (0.5, 0.9)
    optimiser: Literal["adamw", "adam", "sgd"] = "adam"
    discriminator_lr: Rate | None = None


class AutoencoderSection(AutoencoderOptions):
    """First stage of a recipe: architecture, objective, training; or `from:` a trained model, run or checkpoint.

    tune: train that first stage further, with its discriminator where it has one, instead of taking it as it is.
    latent_scale: null measures it for `kl` and is 1 for `vq`; `measure`; or a number.
    """

    from_: str | None = Field(None, alias="from")
    tune: bool = False
    objective: ObjectiveOptions = ObjectiveOptions()
    latent_scale: Annotated[float, Field(gt=0, le=1e9)] | Literal["measure"] | None = None
    train: AutoencoderTraining = AutoencoderTraining()

    @property
    def trains(self) -> bool:
        """Whether there is a first stage to train."""
        return self.kind != "identity" and (self.from_ is None or self.tune)

    def architecture(self) -> AutoencoderOptions:
        """The part that goes into `model.yaml`."""
        return AutoencoderOptions(**{k: getattr(self, k) for k in AutoencoderOptions.model_fields})
