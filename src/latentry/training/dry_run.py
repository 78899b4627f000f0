"""Rehearse a run: a few real steps, a sample and a save of each stage, and what the whole will take."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from latentry import devices
from latentry.checkpoints.store import Store
from latentry.devices import forget_peak, peak
from latentry.errors import LatentryError
from latentry.timing import busy, clocked
from latentry.training.loop.outlook import DAY, ON_CPU, duration
from latentry.training.loop.signals import Interrupted, limited
from latentry.training.loop.stage import Stage
from latentry.training.plan.plan import Plan
from latentry.training.stages import STAGES
from latentry.training.stages.order import walk

WARM, TIMED = 1, 6
BUDGET, SHEET = 60.0, 10.0
"""Seconds for all stages' steps, besides their first, and for a sheet of samples; what is cut short is reckoned up."""
GIB, HOUR = 2**30, 3600
ALL = {"hours in all": "hours", "hours in all, at most": "hours, at most"}
"""Sums over the stages, of which of their figures."""


def _silent(_: str) -> None:
    return None


def dry_run(plan: Plan, doing: Callable[[str], None] = _silent) -> dict[str, Any]:
    """Figures of a rehearsal in a temporary folder beside the run's; nothing of it stays.

    doing: called with what comes next. Raises LatentryError where a step is not finite, and what a real run would
    raise.
    """
    parent = next(p for p in (plan.out, *plan.out.absolute().parents) if p.is_dir())
    cached = {n: s for n, s in plan.recipe.sections().items() if getattr(s.train, "cache_latents", False)}
    uncached = {name: _uncached(section) for name, section in cached.items()}
    with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=parent) as folder:
        rehearsal = replace(
            plan,
            recipe=plan.recipe.model_copy(update=uncached),
            out=Path(folder),
            stages=plan.selected,
            sources=replace(plan.sources, saved=None),
        )
        figures = _rehearse(rehearsal, list(cached), doing)
        free = shutil.disk_usage(folder).free
    plan.report("dry run: steps, samples and saves worked; nothing of it is left")
    needed = sum(stage["disk (GiB)"] for stage in figures.values())
    hours = {key: round(sum(stage[of] for stage in figures.values()), 2) for key, of in ALL.items()}
    if plan.world.device.type == "cpu" and hours["hours in all"] * HOUR > DAY:
        plan.report(f"dry run: at least {duration(hours['hours in all'] * HOUR)} in all. {ON_CPU}")
    return {
        "stages": figures,
        **hours,
        "disk needed (GiB)": round(needed, 3),
        "disk free (GiB)": round(free / GIB, 1),
    }


def _uncached(section: Any) -> Any:
    """A stage's section, to work on images: the cache would take all of them."""
    return section.model_copy(update={"train": section.train.model_copy(update={"cache_latents": False})})


def _rehearse(plan: Plan, cached: Sequence[str], doing: Callable[[str], None]) -> dict[str, Any]:
    """cached: the stages that will really work on cached latents; the first of them that is trained fills the cache."""
    figures: dict[str, Any] = {}
    fills = next((name for name in cached if name in plan.stages), None)
    parts: dict[str, nn.Module] = {}
    for name in walk(plan):
        kind = STAGES[name]
        part = kind.ready(plan)
        if part is None:
            forget_peak(plan.world.device)
            doing(f"{name}: building the networks")
            stage = kind.build(plan, parts)
            if name in plan.stages:
                seconds = BUDGET / len(plan.stages)
                measured = _time(stage, plan, name in cached, name == fills, seconds, doing)
                figures[name] = {"parameters": _sizes(stage), **measured, "peak memory (GiB)": peak(plan.world.device)}
            part = stage.model
        parts[name] = part.to(plan.world.device).eval().requires_grad_(False)
    return figures


def _sizes(stage: Stage) -> dict[str, int]:
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in stage.modules().items()}
    return {name: count for name, count in counts.items() if count}


def _time(
    stage: Stage, plan: Plan, cached: bool, fills: bool, seconds: float, doing: Callable[[str], None]
) -> dict[str, Any]:
    """Real steps of one stage, a sheet and a save. cached: batches will come from cached latents, which it `fills`.

    Times are from the fastest of the steps to the slowest; where other work keeps the machine busy, from what the
    fastest took of the processors.
    """
    training = stage.training

    def say(what: str) -> None:
        doing(f"{stage.name}: {what}")

    timed = timed_steps(stage, seconds, say)
    say("a sheet of samples")
    sheet = _sheet(stage, plan.out / f"{stage.name}.png")
    say("a save")
    state = stage.state()
    store = Store(plan.out / stage.name)
    save, path = _clock(stage, lambda: store.save(WARM + TIMED, state.tensors, {"values": state.values}))
    size = sum(file.stat().st_size for file in path.iterdir())
    images = len(plan.data) + (len(plan.held_out) if plan.held_out else 0)
    looks = training.steps // training.sample_every * sheet + training.steps // training.save_every * save
    disk = size * (training.keep + 1) + (_cache_bytes(plan, images) if fills else 0)
    encoded = images * (1 + plan.data.options.flip) / training.batch if fills else 0.0  # batches of the whole cache
    hours, each = [], []
    for pick, kind in ((min, "quiet"), (max, "step")):
        fetch, step = pick(t.fetch for t in timed), pick(getattr(t, kind) for t in timed)
        each.append(step + (0.0 if cached else fetch))
        hours.append(round((each[-1] * training.steps + fetch * encoded + looks) / HOUR, 3))
    return {
        "precision": training.precision,
        "steps": training.steps,
        "seconds a step": round(each[0], 4),
        "seconds a step, at most": round(each[1], 4),
        "steps timed": len(timed),
        "images a second": round(training.batch / each[0], 1),
        "hours": hours[0],
        "hours, at most": hours[1],
        "checkpoint (GiB)": round(size / GIB, 4),
        "disk (GiB)": round(disk / GIB, 4),
    }


class Timed(NamedTuple):
    """Seconds that fetching a batch took, and its step; quiet: what the step may take where nothing else is done."""

    fetch: float
    step: float
    quiet: float


def timed_steps(stage: Stage, seconds: float, say: Callable[[str], None]) -> list[Timed]:
    """A few steps, without the first unless it is the only one.

    seconds: after which no other step is begun.
    """
    start, end = stage.costliest_step(), time.monotonic() + seconds
    on_cpu = stage.world.device.type == "cpu"
    steps: list[Timed] = []
    with closing(cast("Generator[list[Any]]", stage.batches(start))) as source:
        for number in range(WARM + TIMED):
            if steps and stage.world.any(time.monotonic() > end):  # all processes end together
                break
            say(f"step {number + 1} of {WARM + TIMED}")
            fetch, parts = _clock(stage, lambda: next(source))
            computed = time.process_time()
            took, result = _clock(stage, partial(stage.step, start + number, parts))
            if not result.finite:
                raise LatentryError(
                    f"dry run: {stage.name}: step {start + number} is not finite. Lower lr, or set precision: fp32."
                )
            computed = (time.process_time() - computed) / torch.get_num_threads()
            steps.append(Timed(fetch, took, min(took, computed) if on_cpu and busy() else took))
    return steps[WARM:] or steps


def _sheet(stage: Stage, path: Path) -> float:
    """Seconds that a preview takes; broken off after a while, for what of it is done by then."""
    start = time.perf_counter()
    try:
        with limited(SHEET):
            _clock(stage, lambda: stage.preview(path))
    except Interrupted as broken:
        return (time.perf_counter() - start) / (broken.share or 1.0)
    return time.perf_counter() - start


def _clock(stage: Stage, work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result) of some work, to its end also on a GPU."""
    return clocked(work, partial(devices.synchronise, stage.world.device))


def _cache_bytes(plan: Plan, images: int) -> int:
    first = plan.model.autoencoder
    channels = (first.latent_channels or first.z_channels) * (2 if first.kind == "kl" else 1)
    height, width = (side // first.factor for side in plan.data.options.height_width)
    return images * (1 + plan.data.options.flip) * channels * height * width * 4
