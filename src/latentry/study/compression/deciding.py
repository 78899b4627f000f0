"""Everything that a study decides, from the folder of images to the steps of each factor, before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from latentry import __version__
from latentry.data.dataset import ImageData
from latentry.data.folders.listing import Listing
from latentry.errors import UsageError
from latentry.metrics.features import tag
from latentry.study.compression import costs, recipes
from latentry.study.compression.features import shared_features
from latentry.study.compression.options import CompressionOptions, Costs, Made, Part, Spent
from latentry.study.compression.splitting import measuring, spent, training_each
from latentry.text import one_line
from latentry.training.loop.world import World
from latentry.training.plan.auto import resolve
from latentry.training.plan.decide import plan, read_images
from latentry.training.plan.plan import Plan
from latentry.training.plan.recipes import Recipe, load
from latentry.training.recipe.drawn import drawn_folder

FEWEST, FEWEST_HELD_OUT = 64, 16
"""Images to train on and held out, of fewer of which no number says anything."""
Report = Callable[[str], None]
UNKNOWN = Spent(first=100, second=100, second_every=100, save=100, cached=False, encoding=0.0)
"""Stands for the steps while nobody knows yet what they cost."""


class Decided(NamedTuple):
    """recipes: of each factor. listing: of the images."""

    made: Made
    recipes: dict[int, Recipe]
    listing: Listing


def decide(options: CompressionOptions, out: Path, world: World, report: Report, timer: costs.Timer) -> Decided:
    """Nothing is written but images that a recipe draws. Arguments as of `making.make`. Raises UsageError, one line."""
    recipe = recipes.images_alone(load(options.recipe, options.changes))
    recipes.refuse_factors(recipe, options.factors)
    root = _folder(options, recipe, report)
    recipe = resolve(recipe, root, _silent)
    images = read_images(recipe, root, ["diffusion"], report)
    refuse_few(images)
    drafts = recipes.drafts(recipe, options, world.device.type)
    known, last = dict[int, Costs](), None
    for draft in drafts:
        report(f"f = {draft.factor}: timing its steps")
        last = _planned(draft, root, out, world)
        known[draft.factor] = timer(last, 60 * options.budget)
    assert last is not None
    made = _made(options, recipe, last, drafts, known)
    final = {draft.factor: recipes.settled(draft, made.part(draft.factor).spent) for draft in drafts}
    return Decided(made, final, last.images.listing)


def _planned(draft: recipes.Drafted, root: Path, out: Path, world: World) -> Plan:
    return plan(recipes.settled(draft, UNKNOWN), root, out / f"f{draft.factor}", world=world, report=_silent)


def _made(
    options: CompressionOptions,
    recipe: Recipe,
    plan: Plan,
    drafts: Sequence[recipes.Drafted],
    known: Mapping[int, Costs],
) -> Made:
    """plan: of any factor; they read the same images."""
    images, asked = plan.data, recipe.autoencoder.objective.perceptual.net
    used = drafts[-1].tree["autoencoder"]["objective"]["perceptual"]
    features = shared_features(images.options.channels, images.source.transparent, plan.world.device)
    look = costs.look(features, images.shape)
    each = training_each(known, options, look)
    mirrored = len(images) * (1 + images.options.flip)
    return Made(
        made_with=f"latentry {__version__}",
        options=options,
        root=images.root,
        images=len(images),
        held_out=len(images.other("held_out")),
        size=images.options.height_width,
        features=tuple(map(tag, features)),
        perceptual=asked if used != "none" else f"none, as the weights of {asked} are not on this machine",
        training=each,
        measuring=measuring(known, options, look),
        parts=tuple(_part(draft, known[draft.factor], each, options, mirrored) for draft in drafts),
    )


def _part(draft: recipes.Drafted, cost: Costs, each: float, options: CompressionOptions, mirrored: int) -> Part:
    batch = draft.tree["diffusion"]["train"]["batch"]
    return Part(
        factor=draft.factor,
        latent=draft.latent,
        parameters=draft.parameters,
        first_parameters=draft.first_parameters,
        costs=cost,
        spent=spent(draft.factor, cost, each, options, mirrored, batch),
    )


def _folder(options: CompressionOptions, recipe: Recipe, report: Report) -> Path:
    """The folder of images: that which was named, or the one that the recipe draws."""
    if options.data is not None:
        if not options.data.is_dir():
            raise UsageError(
                f"--data {one_line(str(options.data))}: no such folder; name one of images, or a --recipe that "
                "draws its own, as shapes, and leave --data out"
            )
        return options.data
    if recipe.images is None:
        raise UsageError(
            f"--data: recipe {recipe.name} draws no images of its own; name the folder of images, or --recipe shapes"
        )
    return drawn_folder(recipe.images, recipe.data.height_width, report)


def refuse_few(images: ImageData) -> None:
    """Raise UsageError for a folder of which too few images are trained on, or held out."""
    held_out = len(images.other("held_out"))
    if len(images) < FEWEST:
        raise UsageError(f"{images.root}: {len(images)} images to train on; a study needs {FEWEST}. Add some.")
    if held_out < FEWEST_HELD_OUT:
        raise UsageError(
            f"{images.root}: {held_out} images are held out; a study needs {FEWEST_HELD_OUT} to measure first "
            "stages on. Raise data.held_out, or add images, or a folder `test`."
        )


def _silent(_: str) -> None:
    return None
