"""What a recipe says of the first stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from latentry.bounds import Rate
from latentry.models.config import AutoencoderOptions
from latentry.training.objectives.options import ObjectiveOptions
from latentry.training.recipe.training import Beta, StageTraining

LATE = 3
"""The discriminator's term starts after one part in so many of the steps, where a recipe does not say when."""


class AutoencoderTraining(StageTraining):
    """First stage: both optimisers use betas (0.5, 0.9) as published.

    discriminator_lr: of the discriminator, where it is another one. recolour: share of the images that are trained on
    with their channels in another order, each inverted or not.
    """

    betas: tuple[Beta, Beta] = (0.5, 0.9)
    optimiser: Literal["adamw", "adam", "muon", "sgd"] = "adam"
    discriminator_lr: Rate | None = None
    recolour: float = Field(default=0.0, ge=0, le=1)


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

    @model_validator(mode="before")
    @classmethod
    def _settle_start(cls, values: Any) -> Any:
        """The discriminator's start in numbers, so that a run whose steps are raised keeps it."""
        objective = values.get("objective") if isinstance(values, Mapping) else None
        if not isinstance(objective, Mapping):
            return values
        options, train = objective.get("discriminator"), values.get("train")
        if not isinstance(options, Mapping) or options.get("start") is not None:
            return values
        steps = train.get("steps") if isinstance(train, Mapping) else None
        steps = steps if isinstance(steps, int) else AutoencoderTraining().steps
        return {**values, "objective": {**objective, "discriminator": {**options, "start": steps // LATE}}}

    @property
    def trains(self) -> bool:
        """Whether there is a first stage to train."""
        return self.kind != "identity" and (self.from_ is None or self.tune)

    def architecture(self) -> AutoencoderOptions:
        """The part that goes into `model.yaml`."""
        return AutoencoderOptions(**{k: getattr(self, k) for k in AutoencoderOptions.model_fields})
