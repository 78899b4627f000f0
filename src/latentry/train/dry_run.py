"""Rehearse a run: a few real steps, a sample and a save, and what the whole will take."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentry.checkpoints.store import Store
from latentry.data.dataset import ImageData
from latentry.errors import LatentryError
from latentry.pipeline import Pipeline
from latentry.train.experiment import Experiment
from latentry.train.recipe import Recipe
from latentry.train.world import World, join

WARM, TIMED = 1, 3
GIB = 2**30


def dry_run(recipe: Recipe, data: ImageData, out: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Figures of a rehearsal in a temporary folder beside `out`; nothing of it stays."""
    world = join()
    parent = next(p for p in (out, *out.absolute().parents) if p.is_dir())
    section = recipe.diffusion.model_copy(
        update={"train": recipe.diffusion.train.model_copy(update={"cache_latents": False})}
    )
    with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=parent) as folder:
        rehearsal = Experiment(
            recipe.model_copy(update={"diffusion": section}), data, "rehearsal", Path(folder), world, report
        )
        rehearsal.settle_precision()
        figures = _rehearse(rehearsal, world, report)
    figures["latent cache (GiB)"] = round(_cache_bytes(recipe, rehearsal, data) / GIB, 3)
    kept = sum(figures[f"{stage} checkpoint (GiB)"] * (t.keep + 1) for stage, t in _stages(recipe, rehearsal))
    figures["disk needed (GiB)"] = round(kept + figures["latent cache (GiB)"], 3)
    return figures


def _stages(recipe: Recipe, rehearsal: Experiment) -> list[tuple[str, Any]]:
    first = [("autoencoder", recipe.autoencoder.train)] if rehearsal.given is None else []
    return [*first, ("diffusion", recipe.diffusion.train)]


def _rehearse(rehearsal: Experiment, world: World, report: Callable[[str], None]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if rehearsal.given is None:
        stage = rehearsal.autoencoder_stage()
        _count(figures, {"autoencoder": stage.model, "discriminator": stage.objective.discriminator})
        _time(figures, stage, rehearsal, world)
        rehearsal.given = Pipeline(rehearsal.model_config(), stage.model, None)
    second = rehearsal.diffusion_stage()
    _count(figures, {"unet": second.model.unet, "conditioning": second.model.conditioners})
    _time(figures, second, rehearsal, world)
    second.preview(rehearsal.out / "sample.png")
    report("dry run: sample and save worked")
    if world.device.type == "cuda":
        figures["peak memory (GiB)"] = round(torch.cuda.max_memory_allocated() / GIB, 2)
    else:
        figures["peak memory (GiB)"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB, 2)
    return figures


def _count(figures: dict[str, Any], modules: dict[str, nn.Module | None]) -> None:
    for name, module in modules.items():
        if module is not None:
            figures[f"{name} parameters"] = sum(p.numel() for p in module.parameters())


def _time(figures: dict[str, Any], stage: Any, rehearsal: Experiment, world: World) -> None:
    """Real steps of one stage, then a save."""
    training, source = stage.training, stage.batches(0)
    start = time.perf_counter()
    for step in range(WARM + TIMED):
        if step == WARM:
            start = time.perf_counter()
        parts = next(source)
        _, finite = stage.step(step, parts)
        if not finite:
            raise LatentryError(f"dry run: {stage.name}: step {step} is not finite. Lower lr, or set precision: fp32.")
    if world.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / TIMED
    state = stage.state()
    path = Store(rehearsal.out / stage.name).save(WARM + TIMED, state.tensors, {"values": state.values})
    size = sum(f.stat().st_size for f in path.iterdir())
    figures[f"{stage.name} seconds a step"] = round(seconds, 4)
    figures[f"{stage.name} images a second"] = round(training.batch / seconds, 1)
    figures[f"{stage.name} minutes for {training.steps} steps"] = round(seconds * training.steps / 60, 1)
    figures[f"{stage.name} precision"] = training.precision
    figures[f"{stage.name} checkpoint (GiB)"] = round(size / GIB, 4)


def _cache_bytes(recipe: Recipe, rehearsal: Experiment, data: ImageData) -> int:
    if not recipe.diffusion.train.cache_latents:
        return 0
    architecture = rehearsal.architecture
    channels = (architecture.latent_channels or architecture.z_channels) * (2 if architecture.kind == "kl" else 1)
    height, width = (side // architecture.factor for side in data.options.height_width)
    images = len(data) + len(rehearsal.held_out)
    return images * (2 if data.options.flip else 1) * channels * height * width * 4
