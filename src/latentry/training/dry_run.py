"""Rehearse a run: a few real steps, a sample and a save of each stage, and what the whole will take."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentry.checkpoints.store import Store
from latentry.data.dataset import ImageData
from latentry.errors import LatentryError
from latentry.pipeline import Pipeline
from latentry.training.experiment import Experiment
from latentry.training.loop.memory import forget_peak, peak
from latentry.training.loop.world import World, join
from latentry.training.plan.recipe import Recipe
from latentry.training.plan.settle import settle_precision

WARM, TIMED = 1, 4
GIB, HOUR = 2**30, 3600


def dry_run(
    recipe: Recipe, data: ImageData, out: Path, report: Callable[[str], None], only: str | None = None
) -> dict[str, Any]:
    """Figures of a rehearsal in a temporary folder beside `out`; nothing of it stays.

    only: the one stage to rehearse. Raises LatentryError where a step is not finite, and what a real run would raise.
    """
    world = join()
    parent = next(p for p in (out, *out.absolute().parents) if p.is_dir())
    uncached = recipe.diffusion.train.model_copy(update={"cache_latents": False})
    rehearsed = recipe.model_copy(update={"diffusion": recipe.diffusion.model_copy(update={"train": uncached})})
    with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=parent) as folder:
        rehearsal = Experiment(rehearsed, data, "rehearsal", Path(folder), world, report)
        settle_precision(rehearsal)
        figures = _rehearse(rehearsal, world, only, recipe.diffusion.train.cache_latents)
        free = shutil.disk_usage(folder).free
    report("dry run: steps, samples and saves worked; nothing of it is left")
    needed = sum(stage["disk (GiB)"] for stage in figures.values())
    return {
        "stages": figures,
        "hours in all": round(sum(stage["hours"] for stage in figures.values()), 2),
        "disk needed (GiB)": round(needed, 3),
        "disk free (GiB)": round(free / GIB, 1),
    }


def _rehearse(rehearsal: Experiment, world: World, only: str | None, cached: bool) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if rehearsal.given is None:
        forget_peak(world.device)
        first = rehearsal.autoencoder_stage()
        if only != "diffusion":
            critic, start = first.objective.discriminator, rehearsal.recipe.autoencoder.objective.discriminator
            sizes = _sizes({"autoencoder": first.model, "discriminator": critic})
            timed = _time(first, rehearsal, start.start if start else 0, False)
            figures["autoencoder"] = {"parameters": sizes, **timed, "peak memory (GiB)": peak(world.device)}
        rehearsal.given = Pipeline(rehearsal.model_config(), first.model, None)
        del first
    if only != "autoencoder":
        forget_peak(world.device)
        second = rehearsal.diffusion_stage()
        sizes = _sizes({"unet": second.model.unet, "conditioning": second.model.conditioners})
        timed = _time(second, rehearsal, 0, cached)
        figures["diffusion"] = {"parameters": sizes, **timed, "peak memory (GiB)": peak(world.device)}
    return figures


def _sizes(modules: dict[str, nn.Module | None]) -> dict[str, int]:
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items() if module}
    return {name: count for name, count in counts.items() if count}


def _time(stage: Any, rehearsal: Experiment, start: int, cached: bool) -> dict[str, Any]:
    """Real steps of one stage from `start` on, a sheet and a save. cached: batches will come from cached latents."""
    training, source = stage.training, stage.batches(start)
    steps, fetches = [], []
    for step in range(start, start + WARM + TIMED):
        fetch, parts = _clock(stage, lambda: next(source))
        took, result = _clock(stage, partial(stage.step, step, parts))
        if not result.finite:
            raise LatentryError(f"dry run: {stage.name}: step {step} is not finite. Lower lr, or set precision: fp32.")
        steps.append(took)
        fetches.append(fetch)
    fetch, step_seconds = statistics.median(fetches[WARM:]), statistics.median(steps[WARM:])
    sheet, _ = _clock(stage, lambda: stage.preview(rehearsal.out / f"{stage.name}.png"))
    state = stage.state()
    store = Store(rehearsal.out / stage.name)
    save, path = _clock(stage, lambda: store.save(WARM + TIMED, state.tensors, {"values": state.values}))
    size = sum(file.stat().st_size for file in path.iterdir())
    images = len(rehearsal.data) + len(rehearsal.held_out)
    encoding = fetch / training.batch * images * (1 + rehearsal.data.options.flip) if cached else 0.0
    each = step_seconds + (0.0 if cached else fetch)
    looks = training.steps // training.sample_every * sheet + training.steps // training.save_every * save
    disk = size * (training.keep + 1) + (_cache_bytes(rehearsal, images) if cached else 0)
    return {
        "precision": training.precision,
        "steps": training.steps,
        "seconds a step": round(each, 4),
        "images a second": round(training.batch / each, 1),
        "hours": round((each * training.steps + encoding + looks) / HOUR, 3),
        "checkpoint (GiB)": round(size / GIB, 4),
        "disk (GiB)": round(disk / GIB, 4),
    }


def _clock(stage: Any, work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result) of some work, to its end also on a GPU."""
    start = time.perf_counter()
    result = work()
    if stage.world.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def _cache_bytes(rehearsal: Experiment, images: int) -> int:
    architecture = rehearsal.architecture
    channels = (architecture.latent_channels or architecture.z_channels) * (2 if architecture.kind == "kl" else 1)
    height, width = (side // architecture.factor for side in rehearsal.data.options.height_width)
    return images * (1 + rehearsal.data.options.flip) * channels * height * width * 4
