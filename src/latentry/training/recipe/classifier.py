"""What a recipe says of the classifier of noisy latents."""

from __future__ import annotations

from pydantic import Field

from latentry.bounds import Rate
from latentry.models.classifier import ClassifierNetwork
from latentry.training.recipe.training import StageTraining


class ClassifierTraining(StageTraining):
    """Rate and decay of weights as of the published classifiers (Dhariwal and Nichol 2021, table 12)."""

    lr: Rate = 3e-4
    weight_decay: float = Field(0.05, ge=0, le=1000)
    ema: float | None = Field(0.999, gt=0, lt=1)
    cache_latents: bool = True


class ClassifierSection(ClassifierNetwork):
    """The classifier stage of a recipe: what sampling is guided by, on the diffusion stage's schedule."""

    train: ClassifierTraining = ClassifierTraining()

    @property
    def trains(self) -> bool:
        """Whether there is anything to train: always."""
        return True

    def architecture(self) -> ClassifierNetwork:
        """The part that goes into `model.yaml`."""
        return ClassifierNetwork(**{k: getattr(self, k) for k in ClassifierNetwork.model_fields})
