"""From a request to latents: levels, conditions, guidance and a solver, joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from latentry import rng
from latentry.conditioning import Cond
from latentry.diffusion.contracts import Denoise, Denoisers, Step
from latentry.diffusion.guidance.autoguidance import beside
from latentry.diffusion.guidance.classifier_free import classifier_free
from latentry.diffusion.guidance.clipped import clipped
from latentry.diffusion.guidance.interval import WHOLE, during
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.levels.ratios import at_ratio
from latentry.diffusion.schedule import CLEAN, Level, Schedule
from latentry.diffusion.solvers import SOLVERS
from latentry.diffusion.tiling import tiled
from latentry.kinds import build, lookup
from latentry.models.bind import bind_at
from latentry.models.config import SampleOptions
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.models.model import Model
from latentry.tasks import Request

AT_ONCE = 2**18
"""Of small tiles so many are drawn at once that the UNet's first features of them are this many numbers."""


def levels_of(model: Model, request: Request, chosen: SampleOptions) -> list[Level]:
    """The levels from noise to clean; of a request that has a start, its level and those below it."""
    start = request.start or request.begin
    if start is not None and start[1] == CLEAN:
        return [CLEAN]
    assert model.denoiser is not None
    levels = chosen_levels(model.denoiser.schedule, chosen)
    if start is None or start[1] is None:
        return levels
    first = start[1]
    return [first, *(level for level in levels if level.t < first.t)]


def chosen_levels(schedule: Schedule, chosen: SampleOptions) -> list[Level]:
    """As many as `steps` network evaluations reach with the solver; plms, as published, takes one more."""
    solver = SOLVERS[chosen.solver.kind]
    levels = lookup(LEVELS, chosen.levels, "levels")
    visited: list[Level] = levels(schedule.exact if solver.ancestral else schedule, solver.steps(chosen.steps))
    return visited


def solver_notes(distilled: bool, chosen: SampleOptions) -> tuple[str, ...]:
    """What is said of a solver that draws worse than another one for this sort of model."""
    name, follows = chosen.solver.kind, SOLVERS[chosen.solver.kind].order > 0
    if distilled and follows:
        return (f"solver: {name} follows a path step by step; this model is distilled: consistency draws it better",)
    if not distilled and not follows:
        return (f"solver: {name} is for distilled models; this one is none: another solver draws it better",)
    return ()


def evaluations(request: Request, levels: Sequence[Level], chosen: SampleOptions) -> list[int]:
    """How often each step down the levels calls the network, or the two of a guided prediction."""
    calls = SOLVERS[chosen.solver.kind].calls
    if request.passes == 1:
        return calls(levels)
    return [request.passes * calls(levels[index:])[0] for index in range(len(levels) - 1)]


@torch.no_grad()
def solve(
    model: Model,
    request: Request,
    levels: Sequence[Level],
    chosen: SampleOptions,
    *,
    bf16: bool = False,
    worse: LatentDiffusion | None = None,
) -> Iterator[Step]:
    """Walk the latents of a request down `levels`; no step where there is one level only. worse: of autoguidance.

    Of an edit that changes nothing only the originals are drawn.
    """
    if len(levels) < 2:
        return iter(())
    if request.edit is not None and request.edit.changes_nothing:
        request = request.originals()
    denoiser = model.denoiser
    assert denoiser is not None
    height, width = (side // model.autoencoder.factor for side in request.size)
    shape = (model.autoencoder.latent_channels, height, width)

    def noise(step: int, stream: str = "sampling noise") -> Tensor:
        drawn = torch.cat([rng.normal(seed, stream, [0], step, shape) for seed in request.seeds])
        return _moved(drawn, model.device)

    start = noise(0, "sampling start") if request.start is None else request.start[0].to(model.device)
    denoise = guided(denoiser, request, (height, width), levels, chosen, bf16=bf16, worse=worse)
    for wrap in request.wrap:
        denoise = wrap(denoise)
    if chosen.clip:  # last, for what a wrap adds may lead out of the range, too
        denoise = clipped(denoise)
    process = process_of(denoiser.schedule, chosen)
    if request.walk is not None:
        return request.walk(build(SOLVERS, chosen.solver))(denoise, start, levels, noise=noise, **process)
    steps: Iterator[Step] = build(SOLVERS, chosen.solver)(denoise, start, levels, noise=noise, **process)
    return steps


def guided(
    denoiser: LatentDiffusion,
    request: Request,
    size: tuple[int, int],
    levels: Sequence[Level],
    chosen: SampleOptions,
    *,
    bf16: bool,
    worse: LatentDiffusion | None,
) -> Denoise:
    """The prediction under the request's conditions, with the guidance that was chosen. size: (h, w) of the latents."""
    values, count = request.values, request.count
    edits = None if request.edit is None else request.edit.bound(denoiser, values, levels)

    def bound(model: LatentDiffusion, *conds: Cond) -> Denoisers:
        at = bind_at(model, conds, levels, bf16=bf16, edits=edits if model is denoiser else None, reuse=chosen.reuse)
        if request.tile is None:
            return at(None)
        side, overlap = request.tile
        numbers = count * side**2 * model.options.unet.channels
        return tiled(at, side, overlap, together=1 if edits else max(1, AT_ONCE // numbers))

    told = denoiser.condition(values, count, size)
    if chosen.guidance == 1 or (worse is None and not values):  # without a condition both predictions are one
        return classifier_free(bound(denoiser, told), 1.0)
    if worse is None:
        both = bound(denoiser, told, denoiser.nothing(values, count, size))
    else:
        main, other = bound(denoiser, told), bound(worse, worse.condition(values, count, size))
        both = beside(classifier_free(main, 1.0), classifier_free(other, 1.0))
    mixed = classifier_free(both, chosen.guidance, chosen.guidance_rescale, denoiser.prediction)
    if chosen.guidance_interval == WHOLE:
        return mixed
    last = denoiser.schedule.steps - 1
    first, until = (share * last for share in chosen.guidance_interval)
    return during(first, until, mixed, classifier_free(bound(denoiser, told), 1.0))


def process_of(schedule: Schedule, chosen: SampleOptions) -> dict[str, Any]:
    """What the solver is told of the process besides the levels."""
    solver = SOLVERS[chosen.solver.kind]
    ancestral: dict[str, Any] = {"v_posterior": schedule.v_posterior} if solver.ancestral else {}
    return {**ancestral, "at": partial(at_ratio, schedule)} if solver.churns else ancestral


def _moved(drawn: Tensor, device: torch.device) -> Tensor:
    """Numbers drawn on the CPU, where the model is. CUDA copies pinned memory while the network before still runs."""
    return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn.to(device)
