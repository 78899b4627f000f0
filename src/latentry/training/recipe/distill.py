"""What a recipe says of distilling the second stage into one that samples in one or a few steps."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from latentry.bounds import Guidance, Rate, Steps, StepsOrNone
from latentry.kinds import Options
from latentry.models.config import SampleOptions
from latentry.training.recipe.diffusion import DroppingTraining
from latentry.training.recipe.training import Beta

SOLVER = "consistency"


def _of_the_solver() -> SampleOptions:
    return SampleOptions(solver=SOLVER)


class DistillTraining(DroppingTraining):
    """Short, for it begins with what the second stage knows; the rate falls to nothing, so that it settles."""

    steps: Steps = 250
    batch: int = Field(32, gt=0, le=1_000_000)
    lr: Rate = 5e-4
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    warmup: StepsOrNone = 10
    decay: Literal["constant", "linear", "cosine"] = "cosine"
    clip: Annotated[float, Field(gt=0, le=1e9)] | None = 1.0
    ema: float | None = Field(0.99, gt=0, lt=1)


class DistillSection(Options):
    """The distillation of a recipe: easy consistency tuning of the second stage (Geng et al. 2024).

    guidance: folded in, so that a sample needs no second call; null: that of `sample`. halvings: how often the
    distance between the two points that are to agree is halved, from the whole path on. hold: the share of the steps
    that are left for the least of these distances, at the end. huber: c of the pseudo-Huber
    loss, in units of the square root of a latent's numbers. log_ratio_mean, log_ratio_deviation: of log(sigma/alpha),
    whose normal distribution times are drawn by. sample: how the distilled model samples.
    """

    guidance: Guidance | None = None
    halvings: int = Field(4, ge=0, le=20)
    hold: float = Field(0.5, ge=0, le=0.99)
    huber: float = Field(0.00054, gt=0, le=1000)
    log_ratio_mean: float = Field(-0.4, ge=-20, le=20)
    log_ratio_deviation: float = Field(2.0, gt=0, le=20)
    sample: SampleOptions = Field(default_factory=_of_the_solver)
    train: DistillTraining = DistillTraining()

    @property
    def trains(self) -> bool:
        """Whether there is anything to train: always."""
        return True

    @field_validator("sample", mode="before")
    @classmethod
    def _by_its_solver(cls, values: Any) -> Any:
        return {"solver": SOLVER, **values} if isinstance(values, dict) else values

    @field_validator("sample")
    @classmethod
    def _check(cls, sample: SampleOptions) -> SampleOptions:
        if sample.solver.kind != SOLVER:
            raise ValueError(f"solver {sample.solver.kind}: a distilled model is sampled by {SOLVER}; leave it out")
        return sample
