"""A recipe with a judge is for the images that the judge knows, and says so to who brings others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from latentry.conditioning import CONDITIONERS
from latentry.data.dataset import ImageData
from latentry.errors import UsageError
from latentry.metrics import JUDGES
from latentry.training.recipe.recipe import Recipe

FOR_OWN = "small-64"
"""The recipe for a folder of one's own."""


@contextmanager
def own_images_explained(recipe: Recipe) -> Iterator[None]:
    """Add to a UsageError about the images, of a recipe with a judge, for which images the recipe is made."""
    try:
        yield
    except UsageError as error:
        if recipe.judge is None:
            raise
        made = JUDGES[recipe.judge].images
        raise UsageError(
            f"{error} The recipe {recipe.name} is for {made} alone (judge: {recipe.judge}); for a folder of your own "
            f"take the recipe {FOR_OWN}."
        ) from None


def check_judge(recipe: Recipe, data: ImageData) -> None:
    """Raise UsageError where the judge could not judge at the end: no captions, or images that it does not know."""
    if recipe.judge is None:
        return
    if recipe.data.text is None:
        raise UsageError(
            f"judge: {recipe.judge} judges by captions, and data.text is null. Set data.text, or judge null."
        )
    if not recipe.diffusion.conditioning:
        raise UsageError(
            f"judge: {recipe.judge} asks whether samples show what they were asked for, and diffusion.conditioning is "
            "empty. Give it a condition, or set judge null."
        )
    conditioning = recipe.diffusion.conditioning
    asks, kinds = JUDGES[recipe.judge].asks, [o.kind for o in conditioning.values()] if conditioning != "auto" else []
    read = frozenset().union(*(CONDITIONERS[kind].conditioner.reads for kind in kinds))
    if "" not in asks and not read & asks.keys():
        raise UsageError(
            f"judge: {recipe.judge} judges by what samples are asked for by {' or '.join(asks)}, and "
            f"diffusion.conditioning has {', '.join(kinds)}. Set judge null."
        )
    for split in (data, data.other("held_out")):
        JUDGES[recipe.judge].check(recipe.data.channels, [record.fields for record in split.records])
