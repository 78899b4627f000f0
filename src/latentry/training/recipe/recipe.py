"""The recipe: one YAML file that states a whole experiment."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import Field, field_validator, model_validator

from latentry.bounds import MOST_VALUES, Seed
from latentry.data.options import DataOptions
from latentry.errors import did_you_mean, shown
from latentry.kinds import Options
from latentry.metrics import JUDGES
from latentry.models.config import SampleOptions, check_size
from latentry.training.recipe.autoencoder import AutoencoderSection
from latentry.training.recipe.diffusion import DiffusionSection
from latentry.training.recipe.drawn import DrawnOptions
from latentry.training.recipe.training import StageOptions


class Recipe(Options):
    """A whole experiment. `seed` fixes every draw; `judge` names how the result is judged at the end of training.

    extends: a recipe's name, or a file's path from here: what this one does not say is taken from there (`load`).
    data_from, licence: of the images, in words, for the model card.
    images: those that latentry draws itself, where no folder is named to train on.
    made_with: versions and data of the run that wrote the file; read by people alone.
    Further stages of the table have a section of their own; without it they take no part (`recipe_class`).
    """

    name: str
    extends: str | None = Field(None, exclude=True)
    about: str = ""
    data_from: str = ""
    licence: str = ""
    seed: Seed = 0
    images: DrawnOptions | None = None
    data: DataOptions = DataOptions()
    autoencoder: AutoencoderSection = AutoencoderSection()
    diffusion: DiffusionSection = DiffusionSection()
    sample: SampleOptions = SampleOptions()
    judge: str | None = None
    made_with: Annotated[dict[str, Any], Field(max_length=1000)] | None = None

    def section(self, stage: str) -> StageOptions | None:
        """What it says of a stage; None for a further stage that takes no part."""
        return cast("StageOptions | None", getattr(self, stage, None))

    def sections(self) -> dict[str, StageOptions]:
        """Those of the stages that take part."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: section for name, section in named.items() if hasattr(section, "train")}

    @field_validator("judge")
    @classmethod
    def _known_judge(cls, judge: str | None) -> str | None:
        if judge is not None and judge not in JUDGES:
            raise ValueError(f'no judge "{shown(judge)}"; known: {", ".join(JUDGES)}{did_you_mean(judge, JUDGES)}')
        return judge

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.autoencoder.tune and self.autoencoder.from_ is None:
            raise ValueError("autoencoder.tune: true without autoencoder.from; name the model to train further")
        if self.autoencoder.from_ is None:
            problem = check_size(self.data.height_width, self.autoencoder, self.diffusion.unet)
            if problem:
                raise ValueError(problem)
        _check_batches(self)
        drop, conditions = self.diffusion.train.drop_condition, self.diffusion.conditioning
        if isinstance(drop, dict) and conditions != "auto" and drop.keys() - conditions.keys():
            unknown = ", ".join(sorted(drop.keys() - conditions.keys()))
            raise ValueError(f"diffusion.train.drop_condition: no condition {unknown}; known: {', '.join(conditions)}")
        for stage, section in self.sections().items():
            if getattr(section.train, "cache_latents", False) and self.data.crop == "random":
                raise ValueError(
                    f"{stage}.train.cache_latents with data.crop random: cached latents hold one crop; set one off"
                )
        return self


def _check_batches(recipe: Recipe) -> None:
    """No batch of images that no machine could hold."""
    height, width = recipe.data.height_width
    for stage, section in recipe.sections().items():
        train = section.train
        together = train.batch // train.accumulate
        if together * height * width * recipe.data.channels > MOST_VALUES:
            raise ValueError(
                f"{stage}.train: {together} images of {height}x{width} in {recipe.data.channels} channels at once "
                "do not fit in any memory; raise accumulate, or lower batch or data.size"
            )


def dump(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data, every default written out; what `recipe.yaml` of a run holds.

    Further stages that take no part are left out.
    """
    plain = recipe.model_dump(mode="json", by_alias=True)
    return {key: value for key, value in plain.items() if value is not None or key in Recipe.model_fields}
