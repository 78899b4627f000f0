"""A study drawn up in its folder, and found there again: only with the same options and images is it gone on with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from latentry import config
from latentry.checkpoints import durable
from latentry.data.dataset import ImageData
from latentry.data.folders.listing import Listing, difference
from latentry.errors import UsageError
from latentry.study import FILE, kind_of, target
from latentry.study.compression.costs import Timer
from latentry.study.compression.deciding import Decided, Report, decide
from latentry.study.compression.options import CompressionOptions, Made
from latentry.text import one_line, read, read_bytes
from latentry.training.loop.world import World
from latentry.training.plan.recipes import dump

LISTING, LONGEST = "data.listing", 2**30 - 1


def make(options: CompressionOptions, out: Path, world: World, report: Report, timer: Timer) -> Made:
    """Draw up the study in the new folder `out`, which appears whole or not at all. timer: of a factor's steps.

    Raises UsageError, one line, before anything is written.
    """
    target.refuse_target(out)
    decided = decide(options, out, world, report, timer)
    _write(decided, out)
    return decided.made


def _write(decided: Decided, out: Path) -> None:
    fresh = out.with_name(f".{out.name}.{os.getpid()}{durable.TMP}")
    try:
        (fresh / "recipes").mkdir(parents=True)
        for factor, recipe in decided.recipes.items():
            durable.write(recipe_file(fresh, factor), [config.dump_yaml(dump(recipe)).encode()])
        durable.write(fresh / LISTING, [decided.listing.to_bytes()])
        durable.write(fresh / FILE, [json.dumps(plain(decided.made), indent=1).encode()])
        durable.sync_folder(fresh)
        fresh.rename(out)
    except OSError as error:
        raise durable.explain(error, out, 0) from error
    finally:
        durable.remove(fresh)


def recipe_file(study: Path, factor: int) -> Path:
    """The recipe of a factor, as `latentry train` takes it."""
    return study / "recipes" / f"f{factor}.yaml"


def plain(made: Made) -> dict[str, Any]:
    """As JSON can hold it: of the options those that were named, before the defaults of the others."""
    options = {**made.options.model_dump(mode="json", exclude={"data"}, exclude_none=True), **made.options.given()}
    return made.model_dump(mode="json", exclude={"options"}) | {"options": options}


def load(study: Path) -> Made:
    """What a study's folder says of it. Raises UsageError, one line."""
    where = one_line(str(study / FILE))
    if (kind := kind_of(study)) != "compression":
        raise UsageError(f"{where}: is a study of another kind ({kind}); accepted: a compression study")
    return config.validate(Made, json.loads(read(study / FILE)), where)


def refuse_other(made: Made, options: CompressionOptions, out: Path) -> None:
    """Raise UsageError where options were named that are not those of the study that is there."""
    target.refuse_other(plain(made)["options"], options.given(), out)


def refuse_changed(images: ImageData, study: Path) -> None:
    """Raise UsageError where the images are not those that the study began with."""
    known = Listing.from_bytes(read_bytes(study / LISTING, LONGEST))
    if changes := difference(known, images.listing(known)):
        raise UsageError(
            f"{images.root}: the images are not those this study began with: {changes.text()}. Restore them, or name "
            "another --out."
        )
