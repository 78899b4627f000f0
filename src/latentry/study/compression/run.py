"""A compression study from its first line to its report; the same call goes on where it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from latentry import devices
from latentry.checkpoints.lock import RunLock, refuse_if_held
from latentry.data.dataset import ImageData
from latentry.interrupts import working
from latentry.study import is_study
from latentry.study.compression import costs
from latentry.study.compression.making import load, make, recipe_file, refuse_changed, refuse_other
from latentry.study.compression.measuring import Measure, keep
from latentry.study.compression.options import CompressionOptions, Made, Part
from latentry.study.compression.report import write
from latentry.study.findings import Findings
from latentry.training.loop.loop import Progress
from latentry.training.loop.world import join
from latentry.training.plan.recipes import load as load_recipe
from latentry.training.run import train

TRAINED = "trained"
"""An empty file in a factor's run, once nothing of its training is left to be done."""


def study(
    options: CompressionOptions,
    out: Path,
    *,
    device: str = devices.AUTO,
    report: Callable[[str], None] = print,
    progress: Callable[[Progress], None] | None = None,
    timer: costs.Timer | None = None,
) -> Findings:
    """Carry out a compression study, or what of it is not done yet; what it found.

    out: a new folder, or that of a study, with whose options those that are named must agree. report, progress: as of
    `train`. timer: measures what a step costs, once; None: `costs.measured`. Raises UsageError, one line, before
    anything is written.
    """
    world = join(device)
    if is_study(out):
        made = load(out)
        refuse_other(made, options, out)
        refuse_if_held(out)
    else:
        with working():
            made = make(options, out, world, report, timer or costs.measured)
        report(_plan(made))
    with RunLock(out, report):
        recipe = load_recipe(str(recipe_file(out, made.parts[0].factor)))
        images = ImageData(recipe.data, made.root, "train", recipe.seed, report=report)
        refuse_changed(images, out)
        measure = Measure(made, images, out, world.device, report)
        for part in made.parts:
            _train(made, part, out, device, report, progress)
            with working():
                measure.part(part)
                findings = write(out)
    return findings


def _train(
    made: Made,
    part: Part,
    out: Path,
    device: str,
    report: Callable[[str], None],
    progress: Callable[[Progress], None] | None,
) -> None:
    """Both stages of a factor, by the training that `latentry train` does."""
    run = out / f"f{part.factor}"
    if (run / TRAINED).exists():
        return
    say = partial(_named, report, part.factor)
    how: dict[str, Any] = {"device": device, "report": say, "progress": progress, "doing": lambda _: None}
    train(str(recipe_file(out, part.factor)), made.root, run, **how)
    shutil.rmtree(run / "latents", ignore_errors=True)  # of no more use, and as large as the images
    keep(run / TRAINED, "")


def _named(report: Callable[[str], None], factor: int, line: str) -> None:
    report(f"f = {factor}: {line}")


def _plan(made: Made) -> str:
    """What will be done, in a line."""
    factors = ", ".join(str(part.factor) for part in made.parts)
    return (
        f"{len(made.parts)} factors ({factors}), {made.training / 60:.3g} minutes of training each; measuring takes "
        f"about {made.measuring / 60:.3g} minutes in all"
    )
