"""What a step costs: real steps of real networks on the real images, timed before the study begins."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from latentry import devices
from latentry.metrics.features import Features
from latentry.models.autoencoder import Autoencoder
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.pipeline import Pipeline
from latentry.study.compression.options import Costs
from latentry.timing import busy, flops
from latentry.training.dry_run import timed_steps
from latentry.training.plan.plan import Plan
from latentry.training.stages import STAGES
from latentry.training.stages.order import walk

DRAWN, DRAWN_STEPS = 16, 2
"""Samples, and their steps, that drawing is timed by."""
MOST, SHARE = 5.0, 0.01
"""Seconds of timing a stage, at most, and of the study's budget."""


def measured(plan: Plan, budget: float) -> Costs:
    """Costs of a factor; nothing is written. budget: seconds of the whole study."""
    parts, seconds = dict[str, nn.Module](), dict[str, tuple[float, float]]()
    for name in walk(plan):
        part = STAGES[name].ready(plan)
        if part is None:
            stage = STAGES[name].build(plan, parts)
            timed = timed_steps(stage, min(MOST, SHARE * budget), lambda _: None)
            seconds[name] = (statistics.median(t.quiet for t in timed), statistics.median(t.fetch for t in timed))
            part = stage.model
        parts[name] = part.to(plan.world.device).eval().requires_grad_(False)
    first, (second, encode) = seconds.get("autoencoder", (0.0, 0.0)), seconds["diffusion"]
    autoencoder, denoiser = parts["autoencoder"], parts["diffusion"]
    assert isinstance(autoencoder, Autoencoder)
    assert isinstance(denoiser, LatentDiffusion)
    pipe = Pipeline(plan.model, autoencoder, denoiser)
    return Costs(first=sum(first), second=second, encode=encode, draw=_drawing(pipe), gflops=_gflops(pipe))


@torch.no_grad()
def _gflops(pipe: Pipeline) -> float:
    """Of the denoiser for the latent of one image, multiplications and additions counted for themselves."""
    denoiser, (height, width) = pipe.denoiser, pipe.config.data.size
    assert denoiser is not None
    factor = pipe.config.autoencoder.factor
    x = torch.zeros(1, denoiser.unet.in_channels, height // factor, width // factor, device=pipe.device)
    t = torch.zeros(1, device=pipe.device)
    return flops(lambda: denoiser(x, t, denoiser.condition({}, 1))) / 1e9


def _drawing(pipe: Pipeline) -> float:
    """Seconds of one sampling step of one sample."""

    def draw() -> None:
        pipe.sample(n=DRAWN, steps=DRAWN_STEPS, seed=0, batch=DRAWN)
        devices.synchronise(pipe.device)

    return _quiet(draw, pipe.device.type) / (DRAWN * DRAWN_STEPS)


def look(features: Sequence[Features], shape: tuple[int, int, int]) -> float:
    """Seconds that the features of one image (C, H, W) take."""
    images = torch.rand(DRAWN, *shape)
    return _quiet(lambda: [one(images) for one in features], "cpu") / DRAWN


def _quiet(work: Callable[[], object], device: str) -> float:
    """Seconds of some work; where other programs keep the processors busy, those that it had of them itself."""
    begun, computed = time.perf_counter(), time.process_time()
    work()
    took, own = time.perf_counter() - begun, (time.process_time() - computed) / torch.get_num_threads()
    return min(took, own) if device == "cpu" and busy() else took


Timer = Callable[[Plan, float], Costs]
