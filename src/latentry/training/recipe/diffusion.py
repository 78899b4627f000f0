"""What a recipe says of the second stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from latentry.conditioning import CONDITIONERS
from latentry.diffusion.objective import DiffusionObjectiveOptions
from latentry.kinds import choice
from latentry.models.config import DiffusionOptions
from latentry.training.recipe.evaluate import TrainingEvaluation
from latentry.training.recipe.training import StageTraining

Share = Annotated[float, Field(ge=0, le=1)]


class DiffusionTraining(StageTraining):
    """Second stage. Guidance and asking with some of the conditions need training without them.

    drop_condition: probability, for each condition by itself, of training without it; or one for each by name.
    drop_all: probability of training without any, drawn besides; only of use where there are several conditions.
    evaluate: distances of samples while it trains, or null.
    """

    drop_condition: Share | Annotated[dict[str, Share], Field(max_length=100)] = 0.1
    drop_all: Share = 0.0
    cache_latents: bool = True
    evaluate: TrainingEvaluation | None = None
    ema: float | None = Field(0.9999, gt=0, lt=1)

    def drop(self, condition: str) -> float:
        """The probability of training without this condition alone; 0.1 for one that a table does not name."""
        table = self.drop_condition
        return table.get(condition, 0.1) if isinstance(table, dict) else table


class DiffusionSection(DiffusionOptions):
    """Second stage of a recipe. conditioning: a table of conditioners, or `auto`: text, class or none by the folder.

    auto: the conditioner that `conditioning: auto` takes where the folder has captions (text) or classes (label).

    from: a trained model or run whose second stage training begins with; what does not fit begins anew and is named.
    """

    from_: str | None = Field(None, alias="from")
    conditioning: dict[str, choice(CONDITIONERS, "conditioner")] | Literal["auto"] = Field({}, max_length=100)  # type: ignore[assignment,valid-type]
    auto: dict[Literal["text", "label"], choice(CONDITIONERS, "conditioner")] = Field({}, max_length=2)  # type: ignore[valid-type]
    objective: DiffusionObjectiveOptions = DiffusionObjectiveOptions()
    train: DiffusionTraining = DiffusionTraining()

    @property
    def trains(self) -> bool:
        """Whether there is anything to train: always."""
        return True

    def architecture(self) -> DiffusionOptions:
        """The part that goes into `model.yaml`."""
        return DiffusionOptions(**{k: getattr(self, k) for k in DiffusionOptions.model_fields})
