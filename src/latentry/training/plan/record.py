"""What a run folder says of its experiment, and whether a call may go on with it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from latentry import __version__, config
from latentry.checkpoints import durable, model_folder
from latentry.checkpoints.run_folder import MODEL, RECIPE, read_recipe
from latentry.checkpoints.store import Store
from latentry.errors import LatentryError, UsageError
from latentry.evaluation.figures import forget_figures
from latentry.text import printable
from latentry.training.plan.images import LISTING, before
from latentry.training.plan.plan import Plan
from latentry.training.plan.recipes import Recipe, dump, validated
from latentry.training.stages import STAGES

FREE = {
    *("steps", "workers", "log_every", "validate_every", "sample_every", "save_every", "keep", "milestones"),
    *("decay_steps", "lr_end"),  # how the rate goes on where `steps` is another
    *("accumulate", "checkpoint_activations"),  # the same step in less memory
}
FIRST = "autoencoder"
KEPT_IN = {FIRST: "autoencoder", "diffusion": "unet", "classifier": "classifier"}
"""The weights in a model folder that tell that a stage was done."""
FREE_SECTIONS = ("sample.", "distill.sample.", "about", "data_from", "licence", "judge")


def flat(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings as (dotted key, value)."""
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from flat(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], tree


def may_change(key: str) -> bool:
    """Whether a resume may have another value for this key of the recipe."""
    return (
        key.startswith(FREE_SECTIONS)
        or ".train.evaluate" in key
        or (".train." in key and key.rsplit(".", 1)[1] in FREE)
    )


def as_begun(recipe: Recipe, out: Path) -> Recipe:
    """What the recipe leaves to the folder, as an earlier start of the run settled it.

    The splits of a folder are heeded only by runs that began when they could be, and `data.range: set` stays the
    numbers that it became, whatever images came since.
    """
    if not (out / RECIPE).is_file():
        return recipe
    begun, tree = _begun(out), dump(recipe)
    data, conditioning = begun.get("data", {}), begun.get("diffusion", {}).get("conditioning", {})
    for key in ("text", "label", "channels"):
        if tree["data"][key] == "auto" and key in data:
            tree["data"][key] = data[key]
    if recipe.data.range == "set" and data.get("percentiles") == tree["data"].get("percentiles"):
        tree["data"]["range"] = data.get("range", "set")
    if tree["diffusion"]["conditioning"] == "auto":
        tree["diffusion"]["conditioning"] = conditioning
    if data.get("splits") == "off" and "splits" not in read_recipe(out).get("data", {}):
        tree["data"]["splits"] = "off"
    return validated(tree, f"recipe {recipe.name}")


def _begun(out: Path) -> dict[str, Any]:
    """The recipe that the run began with; one of before there was `data.splits` knew no splits."""
    tree = read_recipe(out)
    return {**tree, "data": {"splits": "off", **tree.get("data", {})}}


def earlier_recipe(out: Path) -> Recipe | None:
    """The recipe of the last call on this run; None for a new run."""
    return validated(_begun(out), str(out / RECIPE)) if (out / RECIPE).is_file() else None


def settled(recipe: Recipe, out: Path) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with what an earlier start of the run chose by itself (`auto` precision), and what changed since.

    Raises UsageError listing the keys that differ from the run's and may not change.
    """
    if not (out / RECIPE).is_file():
        if any(out.glob("*/step-*")):
            raise UsageError(f"{out}: holds checkpoints, but no {RECIPE} that says of what. Choose another --out.")
        return recipe, ()
    earlier = earlier_recipe(out)
    assert earlier is not None
    tree = dump(recipe)
    old = dict(flat(dump(earlier)))
    for stage in STAGES:
        section = tree.get(stage)
        if section and section["train"]["precision"] == "auto":
            section["train"]["precision"] = old.get(f"{stage}.train.precision", "auto")
    new = dict(flat(tree))
    differ = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k) and not k.startswith("made_with")]
    changes = {k: f"{k} ({old.get(k, 'absent')} -> {new.get(k, 'absent')})" for k in differ}
    added = STAGES.keys() - {key.partition(".")[0] for key in old}  # to a run that had no such stage
    changed = [changes[k] for k in differ if not may_change(k) and k.partition(".")[0] not in added]
    if changed:
        lines = ", ".join(changed[:8])
        more = f" and {len(changed) - 8} more" if len(changed) > 8 else ""
        raise UsageError(
            f"{out}: holds a run of another recipe: {lines}{more}. "
            f"On resume only {', '.join(sorted(FREE))} of `train` may change. "
            "Choose another --out, or the run's own recipe."
        )
    return validated(tree, str(out / RECIPE)), tuple(changes.values())


def is_sound(recipe: Recipe, out: Path, report: Callable[[str], None]) -> bool:
    """Whether RUN/model is there, and as it was written; else it is to be written anew from the checkpoints.

    Says so of a damaged one, once; raises LatentryError where the checkpoints for that are gone.
    """
    folder = out / MODEL
    if not folder.is_dir():
        return False
    problem = model_folder.damage(folder)
    if not problem:
        return True
    for stage, group in KEPT_IN.items():
        section = recipe.section(stage)
        was_done = stage == FIRST or model_folder.has(folder, group)
        if section is not None and section.trains and was_done and not newest_step(out, stage):
            raise LatentryError(
                f"{folder}: {problem}. It cannot be written anew: {out / stage} has no undamaged checkpoint. Take "
                "another copy of the model, or begin a new --out."
            )
    report(f"{folder}: {problem}; it is written anew from its checkpoints")
    return False


def is_finished(recipe: Recipe, out: Path, stage: str, sound: bool) -> bool:
    """Whether RUN/model, which is `sound` or not there, holds this stage, trained for at least the steps asked for.

    Raises UsageError where the first stage is to be trained further after the second was trained on it.
    """
    if not sound:
        return False
    done = model_folder.read(out / MODEL, weights=False).config.trained.get(f"{stage}_steps", 0)
    section = recipe.section(stage)
    assert section is not None
    steps = section.train.steps
    later = [name for name, kind in STAGES.items() if stage in kind.needs and Store(out / name).steps()]
    if 0 < done < steps and later:
        raise UsageError(
            f"{out}: {stage}.train.steps {steps}, but the {later[0]} stage was trained on the {stage} of step "
            f"{done}. Train the longer {stage} in a run of its own and name it by {stage}.from."
        )
    return bool(done >= steps)


def newest_step(out: Path, stage: str) -> int:
    """The step of a stage's newest checkpoint that is not damaged, 0 if there is none."""
    saved = Store(out / stage, report=lambda _: None).newest()
    return saved.step if saved else 0


def _judged_by(tree: Mapping[str, Any]) -> list[Any]:
    """What figures depend on besides the weights: the judge, and how the model samples."""
    return [tree.get("judge"), tree.get("sample"), (tree.get("distill") or {}).get("sample")]


def _earlier_timings(tree: Mapping[str, Any]) -> dict[str, str]:
    """What an earlier call on the run noted of its timing."""
    return dict((tree.get("made_with") or {}).get("precision") or {})


def write(plan: Plan) -> None:
    """Write the recipe with what made it and what changed since, then the listing of the images."""
    images, out = plan.images, plan.out
    tree = dump(plan.recipe)
    earlier = read_recipe(out) if (out / RECIPE).is_file() else {}
    if earlier and _judged_by(earlier) != _judged_by(tree):
        forget_figures(out)
    made_with = {
        "latentry": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "processes": plan.world.size,
        "images": len(plan.data),
        "folder": printable(str(plan.data.root)),
        "data": images.listing.fingerprint,
        "data_changes": images.changes,
        "data_read": plan.data.source.remarks.read,
        "data_not_read": plan.data.source.remarks.left,
        "data_warnings": plan.data.source.warnings,
        "precision": {**_earlier_timings(earlier), **plan.timings},
        "recipe_changes": [*before(out, "recipe_changes"), *plan.changes],
    }
    out.mkdir(parents=True, exist_ok=True)
    durable.replace_file(out / RECIPE, config.dump_yaml({**tree, "made_with": made_with}))
    if images.new:
        durable.replace_file(out / LISTING, images.listing.to_bytes())
