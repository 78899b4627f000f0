"""What a recipe says of the second stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from latentry.conditioning import CONDITIONERS
from latentry.diffusion.objective import DiffusionObjectiveOptions
from latentry.kinds import choice
from latentry.models.config import DiffusionOptions
from latentry.training.recipe.evaluate import TrainingEvaluation
from latentry.training.recipe.training import StageTraining

Share = Annotated[float, Field(ge=0, le=1)]


class DroppingTraining(StageTraining):
    """Training of a denoiser. Guidance and asking with some of the conditions need training without them.

    drop_condition: probability, for each condition by itself, of training without it; or one for each by name.
    drop_all: probability of training without any, drawn besides; only of use where there are several conditions.
    """

    drop_condition: Share | Annotated[dict[str, Share], Field(max_length=100)] = 0.1
    drop_all: Share = 0.0
    cache_latents: bool = True

    def drop(self, condition: str) -> float:
        """The probability of training without this condition alone; 0.1 for one that a table does not name."""
        table = self.drop_condition
        return table.get(condition, 0.1) if isinstance(table, dict) else table


class DiffusionTraining(DroppingTraining):
    """Second stage. evaluate: distances of samples while it trains, or null."""

    evaluate: TrainingEvaluation | None = None
    ema: float | None = Field(0.9999, gt=0, lt=1)


class DiffusionSection(DiffusionOptions):
    """Second stage of a recipe. conditioning: a table of conditioners, or `auto`: text, class or none by the folder.

    auto: the conditioner that `conditioning: auto` takes where the folder has captions (text) or classes (label).

    from: a trained model or run whose second stage training begins with; what does not fit begins anew and is named.
    tune: false takes that second stage as it is, for a stage that works on it, such as `distill`; of the other keys
    `train` then says nothing, and the rest is that model's.
    """

    from_: str | None = Field(None, alias="from")
    tune: bool = True
    conditioning: dict[str, choice(CONDITIONERS, "conditioner")] | Literal["auto"] = Field({}, max_length=100)  # type: ignore[assignment,valid-type]
    auto: dict[Literal["text", "label"], choice(CONDITIONERS, "conditioner")] = Field({}, max_length=2)  # type: ignore[valid-type]
    objective: DiffusionObjectiveOptions = DiffusionObjectiveOptions()
    train: DiffusionTraining = DiffusionTraining()

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return self.from_ is None or self.tune

    @model_validator(mode="after")
    def _check_source(self) -> DiffusionSection:
        if self.from_ is None and not self.tune:
            raise ValueError("tune: false without from; name the model to take, or leave tune out")
        return self

    def architecture(self) -> DiffusionOptions:
        """The part that goes into `model.yaml`."""
        return DiffusionOptions(**{k: getattr(self, k) for k in DiffusionOptions.model_fields})
