"""What a plan would refuse of a folder of images, for `data check --recipe`."""

from __future__ import annotations

from pathlib import Path

from latentry.data.dataset import ImageData
from latentry.errors import LatentryError, UsageError
from latentry.kinds import KindOptions
from latentry.training.plan.conditions import check_fields
from latentry.training.plan.recipes import Recipe


def problems(recipe: Recipe, folder: Path) -> list[str]:
    """The errors with which training on this folder would end before it begins. recipe: nothing left on `auto`.

    Bad files are left out: the check of the folder names each of them.
    """
    try:
        images = ImageData(recipe.data, folder, "train", recipe.seed)
    except UsageError as error:
        return [str(error)]
    except LatentryError:
        return []
    conditioning = recipe.diffusion.conditioning
    conditions = conditioning.items() if isinstance(conditioning, dict) else ()
    return [problem for name, options in conditions for problem in _problem_of(name, options, images)]


def _problem_of(name: str, options: KindOptions, images: ImageData) -> list[str]:
    try:
        check_fields(name, options, images)
    except UsageError as error:
        return [str(error)]
    return []
