"""What a plan would refuse of a folder of images, for `data check --recipe`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

from latentry.errors import LatentryError, UsageError
from latentry.training.plan.conditions import check_fields
from latentry.training.plan.decide import read_images
from latentry.training.plan.recipes import Recipe
from latentry.training.stages import STAGES
from latentry.training.stages.classifier.classes import check_classes


def problems(recipe: Recipe, folder: Path) -> list[str]:
    """The errors with which training on this folder would end before it begins. recipe: nothing left on `auto`.

    Bad files are left out: the check of the folder names each of them.
    """
    try:
        stages = [name for name in STAGES if (section := recipe.section(name)) is not None and section.trains]
        images = read_images(recipe, folder, stages, lambda _: None)
    except UsageError as error:
        return [str(error)]
    except LatentryError:
        return []
    conditioning = recipe.diffusion.conditioning
    conditions = conditioning.items() if isinstance(conditioning, dict) else ()
    checks = [partial(check_fields, name, options, images) for name, options in conditions]
    return [*chain.from_iterable(map(_problem_of, [*checks, partial(check_classes, recipe, images)]))]


def _problem_of(check: Callable[[], None]) -> list[str]:
    try:
        check()
    except UsageError as error:
        return [str(error)]
    return []
