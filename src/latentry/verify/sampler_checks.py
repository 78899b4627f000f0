"""The reference numbers of the published samplers."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor

from latentry.diffusion.contracts import Denoise, Step
from latentry.diffusion.guidance.classifier_free import classifier_free
from latentry.diffusion.guidance.clipped import clipped
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.prediction import PREDICTIONS
from latentry.diffusion.schedule import CLEAN, Level
from latentry.diffusion.solvers import SOLVERS
from latentry.diffusion.solvers.ddim import ancestral
from latentry.kinds import build
from latentry.models.bind import bind
from latentry.models.config import SampleOptions
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.verify.fixture import Check, Subject


def grid(s: Subject, steps: str) -> list[Level]:
    return LEVELS["published"](s.denoiser().schedule, int(steps))


def denoise(s: Subject, levels: list[Level], guidance: float, *, as_epsilon: bool) -> Denoise:
    """With averaged weights. as_epsilon: the published DDIM and PLMS take any network's output for the noise."""
    model = s.denoiser("ema")
    conds = [s.condition("ema")] + ([s.condition("ema", nothing=True)] if guidance != 1 else [])
    x0 = classifier_free(bind(predicting_epsilon(model) if as_epsilon else model, conds, levels), guidance)
    return clipped(x0) if s.pipes["ema"].config.sample.clip and not as_epsilon else x0


def predicting_epsilon(model: LatentDiffusion) -> LatentDiffusion:
    """The same network and weights, its output taken for the noise; the model itself stays as it is."""
    other = copy.copy(model)
    other.prediction = PREDICTIONS["epsilon"]
    return other


def walk(s: Subject, solver: str, steps: str, eta: str | None, guidance: str | None) -> list[Step]:
    options = {"kind": solver} | ({"eta": float(eta)} if eta else {})
    chosen = SampleOptions.model_validate({"solver": options}).solver
    levels, noise = grid(s, steps), s.tensors.get("in.ddim_noise")
    x = s["in.x_T"]
    zeros = torch.zeros_like(x)
    towards = denoise(s, levels, float(guidance or 1), as_epsilon=True)
    drawn = noise if eta and noise is not None else zeros.expand(len(levels), *x.shape)
    return list(build(SOLVERS, chosen)(towards, x, levels, noise=lambda i: drawn[i]))


def sampled(s: Subject, solver: str, steps: str, eta: str | None, guidance: str | None, part: str | None) -> Tensor:
    """What a sampler gives, step by step, or the numbers of its grid."""
    if part in GRID:
        return GRID[part](s, steps, float(eta or 0))
    made = s.once(walk, solver, steps, eta, guidance)
    if part == "x_steps":
        return torch.stack([step.x for step in made])
    if part == "x0_last":
        return made[-1].x0
    return s.autoencoder.decode(made[-1].x) if part == "decoded" else made[-1].x


def _times(s: Subject, steps: str, _: float) -> Tensor:
    return torch.tensor([int(level.t) for level in grid(s, steps)[:-1]]).flip(0)


def _alphas(s: Subject, steps: str, _: float) -> Tensor:
    return torch.tensor([level.alpha**2 for level in grid(s, steps)[:-1]]).flip(0)


def _alphas_before(s: Subject, steps: str, _: float) -> Tensor:
    return torch.tensor([level.alpha**2 for level in grid(s, steps)[1:]], dtype=torch.float64).flip(0)


def _sigmas(s: Subject, steps: str, eta: float) -> Tensor:
    return torch.tensor([ancestral(now, then, eta)[0] for now, then in pairwise(grid(s, steps))]).flip(0)


GRID: dict[str, Check] = {"timesteps": _times, "alphas": _alphas, "alphas_prev": _alphas_before, "sigmas": _sigmas}


def ancestral_walk(s: Subject, steps: str) -> Tensor:
    """The last times one by one, and to clean."""
    schedule = s.denoiser().schedule
    levels = [*(schedule.exact.level(t) for t in reversed(range(int(steps)))), CLEAN]
    noise = s["in.ancestral_noise"]
    towards = denoise(s, levels, 1.0, as_epsilon=False)
    x = s["in.x_T"]
    v = schedule.v_posterior
    for step in SOLVERS["ddpm"].solve(towards, x, levels, noise=lambda i: noise[i], v_posterior=v):
        x = step.x
    return x


CHECKS: dict[str, Check] = {
    r"(ddim|plms)(\d+)(?:_eta([\d.]+))?(?:_cfg([\d.]+?))?(?:\.(\w+))?": sampled,
    r"ancestral(\d+)": ancestral_walk,
}
"""Pattern of a tensor's name behind `out.` -> what gives it."""
