"""What a run folder says of its experiment, and whether a call may go on with it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from latentry import __version__, config
from latentry.checkpoints import durable
from latentry.checkpoints.run_folder import RECIPE, read_recipe
from latentry.data.dataset import ImageData
from latentry.data.listing import Listing, difference
from latentry.errors import UsageError
from latentry.train.recipe import Recipe, dump
from latentry.train.world import World

LISTING = "data.listing"
FREE = {"steps", "workers", "log_every", "validate_every", "sample_every", "save_every", "keep", "milestones"}
FREE_SECTIONS = ("sample.", "about", "judge", "made_with.")


def flat(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings as (dotted key, value)."""
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from flat(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], tree


def may_change(key: str) -> bool:
    """Whether a resume may have another value for this key of the recipe."""
    return key.startswith(FREE_SECTIONS) or (".train." in key and key.rsplit(".", 1)[1] in FREE)


def settled(asked: Recipe, out: Path) -> Recipe:
    """The recipe with what an earlier start of the run chose by itself: `auto` precision.

    Raises UsageError listing every key that differs from the run's and may not change.
    """
    if not (out / RECIPE).is_file():
        return asked
    earlier = config.validate(Recipe, read_recipe(out), str(out / RECIPE))
    tree = dump(asked)
    old = dict(flat(dump(earlier)))
    for stage in ("autoencoder", "diffusion"):
        if tree[stage]["train"]["precision"] == "auto":
            tree[stage]["train"]["precision"] = old[f"{stage}.train.precision"]
    new = dict(flat(tree))
    changed = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k) and not may_change(k)]
    if changed:
        lines = ", ".join(f"{k} ({old.get(k, 'absent')} -> {new.get(k, 'absent')})" for k in changed[:8])
        more = f" and {len(changed) - 8} more" if len(changed) > 8 else ""
        raise UsageError(
            f"{out}: holds a run of another recipe: {lines}{more}. "
            f"On resume only {', '.join(sorted(FREE))} of `train` may change. "
            "Choose another --out, or the run's own recipe."
        )
    return config.validate(Recipe, tree, str(out / RECIPE))


def write(recipe: Recipe, data: ImageData, fingerprint: str, out: Path, world: World) -> None:
    """Write the resolved recipe with what made it."""
    if not world.chief:
        return
    made_with = {
        "latentry": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "processes": world.size,
        "images": len(data),
        "data": fingerprint,
    }
    out.mkdir(parents=True, exist_ok=True)
    durable.replace_file(out / RECIPE, config.dump_yaml({**dump(recipe), "made_with": made_with}))


def check_data(data: ImageData, out: Path, accept: bool, world: World) -> tuple[str, str]:
    """(fingerprint of the data, what changed since the run began or ""); the listing is kept in the run.

    Raises UsageError with the list of changes unless they are accepted.
    """
    path = out / LISTING
    known = Listing.from_bytes(path.read_bytes()) if path.is_file() else None
    now = data.listing(known)
    changes = difference(known, now) if known else None
    if changes and not accept:
        raise UsageError(
            f"{data.root}: the images are not those this run began with: {changes.describe()}. "
            "Restore them, choose another --out, or go on with --accept-data-change."
        )
    world.barrier()
    if world.chief and (known is None or changes):
        out.mkdir(parents=True, exist_ok=True)
        durable.replace_file(path, now.to_bytes())
    return now.fingerprint, changes.describe() if changes else ""
