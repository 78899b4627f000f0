"""From a request to latents: levels, conditions, guidance and a solver, joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from latentry import rng
from latentry.diffusion.contracts import Step
from latentry.diffusion.guidance import classifier_free, clipped
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.schedule import CLEAN, Level
from latentry.diffusion.solvers import SOLVERS
from latentry.diffusion.tiling import tiled
from latentry.kinds import build, lookup
from latentry.models.bind import bind_at
from latentry.models.config import SampleOptions
from latentry.models.model import Model
from latentry.tasks import Request


def levels_of(model: Model, request: Request, chosen: SampleOptions) -> list[Level]:
    """The levels from noise to clean; of a request that has a start, its level and those below it."""
    if request.start is not None and request.start[1] == CLEAN:
        return [CLEAN]
    assert model.denoiser is not None
    schedule = model.denoiser.schedule.exact if is_ancestral(chosen) else model.denoiser.schedule
    levels: list[Level] = lookup(LEVELS, chosen.levels, "levels")(schedule, chosen.steps)
    if request.start is None:
        return levels
    first = request.start[1]
    return [first, *(level for level in levels if level.t < first.t)]


@torch.no_grad()
def solve(
    model: Model, request: Request, levels: Sequence[Level], chosen: SampleOptions, *, bf16: bool = False
) -> Iterator[Step]:
    """Walk the latents of a request down `levels`; no step where there is one level only."""
    if len(levels) < 2:
        return iter(())
    denoiser, count = model.denoiser, request.count
    assert denoiser is not None
    guidance = chosen.guidance if request.values else 1.0  # without a condition both predictions are one
    conds = [denoiser.condition(request.values, count)]
    if guidance != 1:
        conds.append(denoiser.nothing(request.values, count))
    shape = (model.autoencoder.latent_channels, *(side // model.autoencoder.factor for side in request.size))

    def noise(step: int, stream: str = "sampling noise") -> Tensor:
        drawn = torch.cat([rng.normal(seed, stream, [0], step, shape) for seed in request.seeds])
        return _moved(drawn, model.device)

    start = noise(0, "sampling start") if request.start is None else request.start[0].to(model.device)
    at = bind_at(denoiser, conds, levels, bf16=bf16)
    denoisers = at(None) if request.tile is None else tiled(at, *request.tile)
    denoise = classifier_free(denoisers, guidance)
    if chosen.clip:
        denoise = clipped(denoise)
    for wrap in request.wrap:
        denoise = wrap(denoise)
    process = {"v_posterior": denoiser.schedule.v_posterior} if is_ancestral(chosen) else {}
    steps: Iterator[Step] = build(SOLVERS, chosen.solver)(denoise, start, levels, noise=noise, **process)
    return steps


def is_ancestral(chosen: SampleOptions) -> bool:
    """Whether the solver draws from the posterior of the process."""
    return bool(getattr(SOLVERS[chosen.solver.kind], "ancestral", False))


def _moved(drawn: Tensor, device: torch.device) -> Tensor:
    """Numbers drawn on the CPU, where the model is. CUDA copies pinned memory while the network before still runs."""
    return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn.to(device)
