"""The recipe: one YAML file that states a whole experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from latentry import config
from latentry.conditioning import CONDITIONERS
from latentry.data.options import DataOptions
from latentry.diffusion.objective import DiffusionObjectiveOptions
from latentry.errors import UsageError, did_you_mean
from latentry.kinds import Options, choice
from latentry.metrics import JUDGES
from latentry.models.config import AutoencoderOptions, DiffusionOptions, SampleOptions, check_size
from latentry.training.objectives.options import ObjectiveOptions
from latentry.training.plan.recipe_files import names, plain, read, read_text, zoo

__all__ = [
    "AutoencoderSection", "AutoencoderTraining", "DiffusionSection", "DiffusionTraining", "Recipe", "StageTraining",
    "dump", "load", "names", "plain", "read", "read_text", "zoo",
]  # fmt: skip

Beta = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class StageTraining(Options):
    """How one stage is trained.

    steps: optimiser steps. batch: images per optimiser step, over all processes. accumulate: the batch is worked
    through in this many parts. lr: the rate used, or with `scale_lr` the published base rate, times the batch.
    warmup: steps of linear rise. decay: shape after it, down to lr * lr_end. ema: decay of averaged weights, or null.
    precision: fp32, bf16 (autocast; weights stay fp32) or auto (times both). workers: loader processes.
    keep: newest checkpoints kept; milestones: also keep every so many steps.
    """

    steps: PositiveInt = 10_000
    batch: PositiveInt = 16
    accumulate: PositiveInt = 1
    lr: PositiveFloat = 1e-4
    scale_lr: bool = False
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    warmup: NonNegativeInt = 0
    decay: Literal["constant", "linear", "cosine"] = "constant"
    lr_end: float = Field(0.0, ge=0, le=1)
    clip: PositiveFloat | None = None
    ema: float | None = Field(None, gt=0, lt=1)
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    channels_last: bool = False
    compile: bool = False
    checkpoint_activations: bool = False
    workers: NonNegativeInt = 0
    log_every: PositiveInt = 50
    validate_every: PositiveInt = 500
    sample_every: PositiveInt = 1000
    save_every: PositiveInt = 1000
    keep: PositiveInt = 2
    milestones: PositiveInt | None = None

    @model_validator(mode="after")
    def _check(self) -> StageTraining:
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} is not a multiple of accumulate {self.accumulate}")
        return self

    def rate(self) -> float:
        """The learning rate at full height."""
        return self.lr * self.batch if self.scale_lr else self.lr


class AutoencoderTraining(StageTraining):
    """First stage: both optimisers use betas (0.5, 0.9) as published."""

    betas: tuple[Beta, Beta] = (0.5, 0.9)
    optimiser: Literal["adamw", "adam", "sgd"] = "adam"
    discriminator_lr: PositiveFloat | None = None


class DiffusionTraining(StageTraining):
    """Second stage. Guidance and asking with some of the conditions need training without them.

    drop_condition: probability, for each condition by itself, of training without it; or one for each by name.
    drop_all: probability of training without any, drawn besides; only of use where there are several conditions.
    """

    drop_condition: Share | dict[str, Share] = 0.1
    drop_all: Share = 0.0
    cache_latents: bool = True
    ema: float | None = Field(0.9999, gt=0, lt=1)

    def drop(self, condition: str) -> float:
        """The probability of training without this condition alone; 0.1 for one that a table does not name."""
        table = self.drop_condition
        return table.get(condition, 0.1) if isinstance(table, dict) else table


class AutoencoderSection(AutoencoderOptions):
    """First stage of a recipe: architecture, objective, training; or `from:` a trained model, run or checkpoint.

    tune: train that first stage further, with its discriminator where it has one, instead of taking it as it is.
    latent_scale: null measures it for `kl` and is 1 for `vq`; `measure`; or a number.
    """

    from_: str | None = Field(None, alias="from")
    tune: bool = False
    objective: ObjectiveOptions = ObjectiveOptions()
    latent_scale: PositiveFloat | Literal["measure"] | None = None
    train: AutoencoderTraining = AutoencoderTraining()

    @property
    def trains(self) -> bool:
        """Whether there is a first stage to train."""
        return self.kind != "identity" and (self.from_ is None or self.tune)

    def architecture(self) -> AutoencoderOptions:
        """The part that goes into `model.yaml`."""
        return AutoencoderOptions(**{k: getattr(self, k) for k in AutoencoderOptions.model_fields})


class DiffusionSection(DiffusionOptions):
    """Second stage of a recipe. conditioning: a table of conditioners, or `auto`: text, class or none by the folder.

    from: a trained model or run whose second stage training begins with; what does not fit begins anew and is named.
    """

    from_: str | None = Field(None, alias="from")
    conditioning: dict[str, choice(CONDITIONERS, "conditioner")] | Literal["auto"] = {}  # type: ignore[assignment,valid-type]
    objective: DiffusionObjectiveOptions = DiffusionObjectiveOptions()
    train: DiffusionTraining = DiffusionTraining()

    def architecture(self) -> DiffusionOptions:
        """The part that goes into `model.yaml`."""
        return DiffusionOptions(**{k: getattr(self, k) for k in DiffusionOptions.model_fields})


class Recipe(Options):
    """A whole experiment. `seed` fixes every draw; `judge` names how the result is judged at the end of training.

    extends: a recipe's name, or a file's path from here: what this one does not say is taken from there (`load`).
    data_from, licence: of the images, in words, for the model card.
    made_with: versions and data of the run that wrote the file; read by people alone.
    """

    name: str
    extends: str | None = Field(None, exclude=True)
    about: str = ""
    data_from: str = ""
    licence: str = ""
    seed: int = Field(0, ge=0)
    data: DataOptions = DataOptions()
    autoencoder: AutoencoderSection = AutoencoderSection()
    diffusion: DiffusionSection = DiffusionSection()
    sample: SampleOptions = SampleOptions()
    judge: str | None = None
    made_with: dict[str, Any] | None = None

    @field_validator("judge")
    @classmethod
    def _known_judge(cls, judge: str | None) -> str | None:
        if judge is not None and judge not in JUDGES:
            raise ValueError(f'no judge "{judge}"; known: {", ".join(JUDGES)}{did_you_mean(judge, JUDGES)}')
        return judge

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.autoencoder.tune and self.autoencoder.from_ is None:
            raise ValueError("autoencoder.tune: true without autoencoder.from; name the model to train further")
        if self.autoencoder.from_ is None:
            problem = check_size(self.data.height_width, self.autoencoder, self.diffusion.unet)
            if problem:
                raise ValueError(problem)
        drop, conditions = self.diffusion.train.drop_condition, self.diffusion.conditioning
        if isinstance(drop, dict) and conditions != "auto" and drop.keys() - conditions.keys():
            unknown = ", ".join(sorted(drop.keys() - conditions.keys()))
            raise ValueError(f"diffusion.train.drop_condition: no condition {unknown}; known: {', '.join(conditions)}")
        if self.diffusion.train.cache_latents and self.data.crop == "random":
            raise ValueError(
                "diffusion.train.cache_latents with data.crop random: cached latents hold one crop; set one off"
            )
        return self


def load(name: str, overrides: list[str] | Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by name or path, apply dotted overrides, and check all of it.

    Raises UsageError with every error of the recipe at once, before any data is touched.
    """
    tree = config.override(read(name), overrides or [])
    if tree.get("extends") is not None:
        raise UsageError(f"recipe {name}: extends: stands in the file and cannot be changed. Write a file that has it.")
    return config.validate(Recipe, tree, f"recipe {name}")


def dump(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data, every default written out; what `recipe.yaml` of a run holds."""
    return recipe.model_dump(mode="json", by_alias=True)
