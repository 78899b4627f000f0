"""A benchmark of one model, from its options to its findings."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from latentry import __version__, devices
from latentry.bench.groups import groups
from latentry.bench.measure import Bench, Clock
from latentry.bench.options import BenchOptions
from latentry.bench.result import Findings
from latentry.bench.subject import Subject
from latentry.bench.their_training import why_no_training
from latentry.bench.theirs import Theirs, theirs
from latentry.errors import UsageError
from latentry.models.config import check_size
from latentry.models.modes import PLAIN
from latentry.pipeline import Pipeline
from latentry.pipeline.sampling import chosen_levels
from latentry.timing import busy, clocked
from latentry.training.plan.record import earlier_recipe

BUSY = (
    "other work keeps this machine's processors busy: times are longer than they need be, and shares of the peak and "
    "ratios less sure. Measure again when it is quiet."
)
TOGETHER = "memory: the same weights lie in memory twice, ours and diffusers'; measure without --against to know one."


def _silent(_: str) -> None:
    return None


def bench(
    pipe: Pipeline,
    options: BenchOptions,
    *,
    doing: Callable[[str], None] = _silent,
    clock: Clock = clocked,
) -> Findings:
    """Time the model in every mode, and where asked the same weights in diffusers, in turn.

    doing: called with what comes next. clock: see `timing.clocked`.
    Raises UsageError for what the model cannot do, before anything is timed.
    """
    subject = Subject(Subject(pipe).within(PLAIN), recipe_of(pipe))
    _check(options, subject)
    busy_before = busy()
    measured = Bench(subject, options.rounds, time.monotonic() + options.budget, doing, clock)
    if pipe.denoiser is None:
        measured.notes.append("a first stage alone: it decodes and is trained, it does not sample")
    if subject.recipe is None and "training" in options.parts:
        measured.notes.append(
            "training: no recipe of this model is here, so its first stage is trained on pixels and KL or codes "
            "alone, without LPIPS and discriminator. Give the run that it came from."
        )
    wanted = list(groups(options, subject, _against(options, subject, measured)))
    measured.end = time.monotonic() + options.budget  # opening other libraries is no part of it
    measured.run(wanted)
    if busy_before or busy():
        measured.notes.append(BUSY)
    return Findings(model_facts(subject), machine(subject.device), measured.peaks, measured.rows, measured.notes)


def _check(options: BenchOptions, subject: Subject) -> None:
    """Raise UsageError for sizes and numbers of steps that the model cannot draw."""
    pipe = subject.pipe
    unet = None if pipe.config.diffusion is None else pipe.config.diffusion.unet
    for size in options.size:
        problem = check_size(size, pipe.config.autoencoder, unet)
        if problem:
            raise UsageError(problem)
    if pipe.denoiser is not None:
        pipe.check("generate", **subject.request(1, subject.size))
        for steps in options.steps:
            chosen_levels(pipe.denoiser.schedule, pipe.config.sample.model_copy(update={"steps": steps}))


def _against(options: BenchOptions, subject: Subject, measured: Bench) -> Theirs | None:
    """The other program; None, and a note why, where there is nothing to compare with."""
    if options.against is None or subject.pipe.denoiser is None:
        return None
    try:
        found = theirs(subject)
    except UsageError as error:
        measured.notes.append(f"diffusers: not compared. {error}")
        return None
    why = found.why_no_samples()
    if why and "samples" in options.parts:
        measured.notes.append(f"diffusers: samples are not compared. {why}")
    why = why_no_training(subject)
    if why and "training" in options.parts:
        measured.notes.append(f"diffusers: training is not compared. {why}")
    measured.notes.append(TOGETHER)
    return found


def recipe_of(pipe: Pipeline) -> Any:
    """The recipe of the run that a model is of, or that its folder lies in."""
    if not pipe.source:
        return None
    path = Path(pipe.source)
    return next((found for one in (path, path.absolute().parent) if (found := earlier_recipe(one))), None)


def model_facts(subject: Subject) -> dict[str, Any]:
    """Which model it is, and how it samples."""
    pipe = subject.pipe
    sample = pipe.config.sample
    guided = pipe.denoiser is not None and sample.guidance != 1 and bool(subject.conditions(subject.size))
    return {
        "name": pipe.config.name,
        "source": pipe.source,
        "hash": pipe.model_hash,
        "parameters": pipe.describe()["parameters"],
        "solver": sample.solver.kind,
        "guidance": sample.guidance,
        "predictions a step": 2 if guided else 1,
    }


def machine(device: torch.device) -> dict[str, Any]:
    """Where it was measured."""
    return {
        "device": devices.described(device),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "latentry": __version__,
    }
