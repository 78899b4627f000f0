"""A study drawn up: everything decided, from the folder of images to the steps of each factor, before any training."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latentry import __version__, config
from latentry.checkpoints import durable
from latentry.data.dataset import ImageData
from latentry.data.folders.listing import Listing, difference
from latentry.errors import UsageError, shown
from latentry.metrics.features import tag
from latentry.study import FILE, kind_of
from latentry.study.compression import costs, recipes
from latentry.study.compression.features import shared_features
from latentry.study.compression.options import CompressionOptions, Made, Part, Spent
from latentry.study.compression.splitting import measuring, spent, training_each
from latentry.text import one_line, read, read_bytes
from latentry.training.loop.world import World
from latentry.training.plan.auto import resolve
from latentry.training.plan.decide import plan, read_images
from latentry.training.plan.plan import Plan
from latentry.training.plan.recipes import Recipe, dump
from latentry.training.plan.recipes import load as load_recipe
from latentry.training.recipe.drawn import drawn_folder

LISTING, LONGEST = "data.listing", 2**30 - 1
FEWEST, FEWEST_HELD_OUT = 64, 16
"""Images to train on and held out, of fewer of which no number says anything."""
Report = Callable[[str], None]
UNKNOWN = Spent(first=100, second=100, second_every=100, save=100, cached=False, encoding=0.0)
"""Stands for the steps while nobody knows yet what they cost."""


def make(
    options: CompressionOptions, out: Path, world: World, report: Report, timer: costs.Timer = costs.measured
) -> Made:
    """Draw up the study in the new folder `out`, which appears whole or not at all. timer: of a factor's steps.

    Raises UsageError, one line, before anything is written.
    """
    refuse_target(out)
    recipe = load_recipe(options.recipe, options.changes)
    recipes.refuse_factors(recipe, options.factors)
    root = _folder(options, recipe, report)
    recipe = resolve(recipe, root, lambda _: None)
    images = read_images(recipe, root, ["diffusion"], report)
    refuse_few(images)
    drafts = recipes.drafts(recipe, options, world.device.type)
    plans, known = list[Plan](), {}
    for draft in drafts:
        report(f"f = {draft.factor}: timing its steps")
        made = recipes.settled(draft, UNKNOWN)
        quiet: dict[str, Any] = {"world": world, "report": lambda _: None}
        plans.append(plan(made, root, out / f"f{draft.factor}", **quiet))
        known[draft.factor] = timer(plans[-1], 60 * options.budget)
    features = shared_features(images.options.channels, images.source.transparent, world.device)
    look = costs.look(features, images.shape)
    each = training_each(known, options, look)
    mirrored = len(images) * (1 + images.options.flip)
    parts = []
    for draft in drafts:
        batch = draft.tree["diffusion"]["train"]["batch"]
        how = spent(draft.factor, known[draft.factor], each, options, mirrored, batch)
        sizes = {"parameters": draft.parameters, "first_parameters": draft.first_parameters}
        parts.append(Part(factor=draft.factor, latent=draft.latent, costs=known[draft.factor], spent=how, **sizes))
    asked, used = (one.autoencoder.objective.perceptual for one in (recipe, plans[-1].recipe))
    study = Made(
        made_with=f"latentry {__version__}",
        options=options,
        root=root.resolve(),
        images=len(images),
        held_out=len(images.other("held_out")),
        size=images.options.height_width,
        features=tuple(map(tag, features)),
        perceptual=used.net if asked.net == used.net else f"none ({asked.net}'s weights are not on this machine)",
        training=each,
        measuring=measuring(known, options, look),
        parts=tuple(parts),
    )
    final = {draft.factor: recipes.settled(draft, study.part(draft.factor).spent) for draft in drafts}
    _write(study, final, plans[-1].images.listing, out)
    return study


def refuse_target(out: Path) -> None:
    """Raise UsageError where a new folder `out` cannot be made."""
    if os.path.lexists(out):
        raise UsageError(f"--out {one_line(str(out))}: already exists and is no study; name a new folder")
    nearest = next(parent for parent in out.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        why = "cannot be written" if nearest.is_dir() else "is a file, not a folder"
        raise UsageError(f"--out {one_line(str(out))}: {one_line(str(nearest))} {why}; name a folder that can be")


def _folder(options: CompressionOptions, recipe: Recipe, report: Report) -> Path:
    """The folder of images: that which was named, or the one that the recipe draws."""
    if options.data is not None:
        if not options.data.is_dir():
            raise UsageError(
                f"--data {one_line(str(options.data))}: no such folder; name one of images, or a --recipe that draws its "
                "own, as shapes, and leave --data out"
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
            f"{images.root}: {held_out} images are held out; a study needs {FEWEST_HELD_OUT} to measure first stages on. "
            "Raise data.held_out, or add images, or a folder `test`."
        )


def _write(made: Made, final: dict[int, Recipe], listing: Listing, out: Path) -> None:
    fresh = out.with_name(f".{out.name}.{os.getpid()}{durable.TMP}")
    try:
        (fresh / "recipes").mkdir(parents=True)
        for factor, recipe in final.items():
            durable.write(recipe_file(fresh, factor), [config.dump_yaml(dump(recipe)).encode()])
        durable.write(fresh / LISTING, [listing.to_bytes()])
        durable.write(fresh / FILE, [json.dumps(plain(made), indent=1).encode()])
        durable.sync_folder(fresh)
        fresh.rename(out)
    except OSError as error:
        raise durable.explain(error, out, 0) from error
    finally:
        durable.remove(fresh)


def recipe_file(folder: Path, factor: int) -> Path:
    """The recipe of a factor, as `latentry train` takes it."""
    return folder / "recipes" / f"f{factor}.yaml"


def plain(made: Made) -> dict[str, Any]:
    """As JSON can hold it: of the options those that were named, before the defaults of the others."""
    options = {**made.options.model_dump(mode="json", exclude={"data"}, exclude_none=True), **made.options.given()}
    return made.model_dump(mode="json", exclude={"options"}) | {"options": options}


def load(folder: Path) -> Made:
    """What a study's folder says of it. Raises UsageError, one line."""
    where = one_line(str(folder / FILE))
    if (kind := kind_of(folder)) != "compression":
        raise UsageError(f"{where}: is a study of another kind ({kind}); accepted: a compression study")
    return config.validate(Made, json.loads(read(folder / FILE)), where)


def refuse_other(made: Made, options: CompressionOptions, out: Path) -> None:
    """Raise UsageError where options were named that are not those of the study that is there."""
    before = plain(made)["options"]
    for name, value in options.given().items():
        if before.get(name) != value:
            was = shown(before[name]) if name in before else "left out"
            raise UsageError(
                f"--{name.replace('_', '-')}: found {shown(value)}; the study in {one_line(str(out))} was made with {was}. "
                "Leave it out to go on with that study, or name another --out."
            )


def refuse_changed(images: ImageData, folder: Path) -> None:
    """Raise UsageError where the images are not those that the study began with."""
    known = Listing.from_bytes(read_bytes(folder / LISTING, LONGEST))
    if changes := difference(known, images.listing(known)):
        raise UsageError(
            f"{images.root}: the images are not those this study began with: {changes.text()}. Restore them, or name "
            "another --out."
        )
