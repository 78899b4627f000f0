"""Rehearse a run: a few real steps, a sample and a save of each stage, and what the whole will take."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from latentry import devices
from latentry.checkpoints.store import Store
from latentry.errors import LatentryError
from latentry.training.loop.memory import forget_peak, peak
from latentry.training.loop.stage import Stage
from latentry.training.plan.plan import Plan
from latentry.training.stages import STAGES
from latentry.training.stages.order import walk

WARM, TIMED = 1, 4
GIB, HOUR = 2**30, 3600


def dry_run(plan: Plan) -> dict[str, Any]:
    """Figures of a rehearsal in a temporary folder beside the run's; nothing of it stays.

    Raises LatentryError where a step is not finite, and what a real run would raise.
    """
    parent = next(p for p in (plan.out, *plan.out.absolute().parents) if p.is_dir())
    diffusion = plan.recipe.diffusion
    uncached = diffusion.model_copy(update={"train": diffusion.train.model_copy(update={"cache_latents": False})})
    with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=parent) as folder:
        rehearsal = replace(
            plan,
            recipe=plan.recipe.model_copy(update={"diffusion": uncached}),
            out=Path(folder),
            stages=plan.selected,
            sources=replace(plan.sources, saved=None),
        )
        figures = _rehearse(rehearsal, diffusion.train.cache_latents)
        free = shutil.disk_usage(folder).free
    plan.report("dry run: steps, samples and saves worked; nothing of it is left")
    needed = sum(stage["disk (GiB)"] for stage in figures.values())
    return {
        "stages": figures,
        "hours in all": round(sum(stage["hours"] for stage in figures.values()), 2),
        "disk needed (GiB)": round(needed, 3),
        "disk free (GiB)": round(free / GIB, 1),
    }


def _rehearse(plan: Plan, cached: bool) -> dict[str, Any]:
    """cached: the second stage will really work on cached latents."""
    figures: dict[str, Any] = {}
    parts: dict[str, nn.Module] = {}
    for name in walk(plan):
        kind = STAGES[name]
        part = kind.ready(plan)
        if part is None:
            forget_peak(plan.world.device)
            stage = kind.build(plan, parts)
            if name in plan.stages:
                timed = _time(stage, plan, cached and name == "diffusion")
                figures[name] = {"parameters": _sizes(stage), **timed, "peak memory (GiB)": peak(plan.world.device)}
            part = stage.model
        parts[name] = part.to(plan.world.device).eval().requires_grad_(False)
    return figures


def _sizes(stage: Stage) -> dict[str, int]:
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in stage.modules().items()}
    return {name: count for name, count in counts.items() if count}


def _time(stage: Stage, plan: Plan, cached: bool) -> dict[str, Any]:
    """Real steps of one stage, a sheet and a save. cached: batches will come from cached latents."""
    training, start = stage.training, stage.costliest_step()
    source = stage.batches(start)
    steps, fetches = [], []
    for step in range(start, start + WARM + TIMED):
        fetch, parts = _clock(stage, lambda: next(source))
        took, result = _clock(stage, partial(stage.step, step, parts))
        if not result.finite:
            raise LatentryError(f"dry run: {stage.name}: step {step} is not finite. Lower lr, or set precision: fp32.")
        steps.append(took)
        fetches.append(fetch)
    fetch, step_seconds = statistics.median(fetches[WARM:]), statistics.median(steps[WARM:])
    sheet, _ = _clock(stage, lambda: stage.preview(plan.out / f"{stage.name}.png"))
    state = stage.state()
    store = Store(plan.out / stage.name)
    save, path = _clock(stage, lambda: store.save(WARM + TIMED, state.tensors, {"values": state.values}))
    size = sum(file.stat().st_size for file in path.iterdir())
    images = len(plan.data) + (len(plan.held_out) if plan.held_out else 0)
    encoding = fetch / training.batch * images * (1 + plan.data.options.flip) if cached else 0.0
    each = step_seconds + (0.0 if cached else fetch)
    looks = training.steps // training.sample_every * sheet + training.steps // training.save_every * save
    disk = size * (training.keep + 1) + (_cache_bytes(plan, images) if cached else 0)
    return {
        "precision": training.precision,
        "steps": training.steps,
        "seconds a step": round(each, 4),
        "images a second": round(training.batch / each, 1),
        "hours": round((each * training.steps + encoding + looks) / HOUR, 3),
        "checkpoint (GiB)": round(size / GIB, 4),
        "disk (GiB)": round(disk / GIB, 4),
    }


def _clock(stage: Stage, work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result) of some work, to its end also on a GPU."""
    start = time.perf_counter()
    result = work()
    devices.synchronise(stage.world.device)
    return time.perf_counter() - start, result


def _cache_bytes(plan: Plan, images: int) -> int:
    first = plan.model.autoencoder
    channels = (first.latent_channels or first.z_channels) * (2 if first.kind == "kl" else 1)
    height, width = (side // first.factor for side in plan.data.options.height_width)
    return images * (1 + plan.data.options.flip) * channels * height * width * 4
