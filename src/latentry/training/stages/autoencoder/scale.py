"""The scale of latents: what makes them of unit deviation for the second stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latentry import rng
from latentry.checkpoints import model_folder
from latentry.checkpoints.run_folder import SCALES
from latentry.checkpoints.tensors import misfit
from latentry.data.dataset import ImageData
from latentry.models.autoencoder import Autoencoder
from latentry.training.loop.world import World
from latentry.training.plan.plan import Plan
from latentry.training.stages.latents import ENCODE_BATCH, encode, read

DEVIATION_RANGE = (0.5, 2.0)
SAMPLES = 10_000
NAME = "autoencoder"
FAR = 7.0
"""Deviations from the mean. Of a million images' normal latents none is so far; a denoiser learns such values last."""
NAMED = 3


def set_scale(plan: Plan, model: Autoencoder) -> None:
    """latent_scale: as the recipe says; measured for KL by default. All processes measure together."""
    wanted, kind = plan.recipe.autoencoder.latent_scale, model.options.kind
    if isinstance(wanted, float):
        model.latent_scale.fill_(wanted)
        return
    latents = measure_latents(model, plan.data, plan.recipe.seed, plan.world, plan.recipe.autoencoder.train.workers)
    deviation = latents.deviation
    if wanted == "measure" or kind == "kl":
        model.latent_scale.fill_(1 / max(deviation, 1e-6))
        scale = float(model.latent_scale)
        plan.report(f"autoencoder: deviation of latents {deviation:.4g}, latent_scale {scale:.4g}")
    elif not DEVIATION_RANGE[0] <= deviation <= DEVIATION_RANGE[1]:
        plan.report(
            f"autoencoder: warning: latents deviate by {deviation:.3g}, outside {list(DEVIATION_RANGE)}; "
            "diffusion learns better with `autoencoder.latent_scale: measure`"
        )

    if line := outliers(latents, plan.data, kind):
        plan.report(line)


def outliers(latents: Latents, data: ImageData, kind: str) -> str | None:
    """The line about images whose latents reach far beyond the others', if there are any."""
    far = {index: reach for index, reach in latents.reaches.items() if reach > FAR}
    if not far:
        return None
    farthest = sorted(far, key=lambda index: -far[index])
    named = ", ".join(f"{data.records[index].path} ({far[index]:.1f})" for index in farthest[:NAMED])
    remedy = "a higher kl_weight holds them together" if kind == "kl" else "fewer z_channels hold them together"
    return (
        f"autoencoder: warning: outliers: latents of {len(far)} of {len(latents.reaches)} images reach beyond {FAR:g} "
        f"deviations from the mean: {named}. The second stage draws such values badly: look at these images, they may "
        f"be damaged or unlike the others; where they belong, {remedy}"
    )


def kept_scale(folder: Path, model: Autoencoder) -> bool:
    """Take the scale of a model folder that has the same weights, also where its texts are damaged: the second stage
    was trained on it, and the images may have changed since. Whether there was one."""
    kept, own = model_folder.kept(folder, NAME), model.state_dict()
    if kept is None or misfit(model, kept):
        return False
    if not all(torch.equal(kept[name], own[name].cpu()) for name in own if name not in SCALES):
        return False
    if not all(bool((kept[name].isfinite()).all()) for name in SCALES) or not float(kept["latent_scale"]) > 0:
        return False
    model.load_state_dict(kept)
    return True


def take_scale(plan: Plan, model: Autoencoder) -> None:
    """That of another model's first stage stays, unless the recipe says another, or its own run had not measured it."""
    unmeasured = model.options.kind == "kl" and float(model.latent_scale) == 1
    if unmeasured or plan.recipe.autoencoder.latent_scale is not None:
        set_scale(plan, model)


@dataclass(frozen=True)
class Latents:
    """Of sampled, unscaled latents: their mean and deviation, and for each image, by its index, how many deviations its
    farthest value is from the mean."""

    mean: float
    deviation: float
    reaches: dict[int, float]


def measure_scale(autoencoder: Autoencoder, data: ImageData, seed: int, world: World, workers: int = 0) -> float:
    """Deviation of sampled, unscaled latents; arguments and images as of `measure_latents`."""
    return measure_latents(autoencoder, data, seed, world, workers).deviation


@torch.no_grad()
def measure_latents(autoencoder: Autoencoder, data: ImageData, seed: int, world: World, workers: int = 0) -> Latents:
    """Sampled, unscaled latents of 10,000 training images (all, if there are fewer).

    The images are shared out among the processes, and the sums are of all.
    """
    count = min(len(data), SAMPLES)
    chosen = rng.generator(seed, "scale").permutation(len(data))[:count].tolist()
    position = {index: place for place, index in enumerate(chosen)}
    least, most = np.zeros(count), np.zeros(count)
    total = squares = numbers = 0.0
    groups = [chosen[first : first + ENCODE_BATCH] for first in range(0, count, ENCODE_BATCH)]
    mine = [index for group in groups[world.rank :: world.size] for index in group]
    for part, group in read(data, mine, workers):
        moments = encode(autoencoder, group)
        if autoencoder.options.kind == "kl":
            posterior = autoencoder.posterior(moments)
            noise = rng.normal(seed, "scale noise", part, 0, posterior.mean.shape[1:])
            moments = posterior.sample(noise)
        latents = moments.double()
        total += float(latents.sum())
        squares += float(latents.square().sum())
        numbers += latents.numel()
        places = [position[index] for index in part]
        least[places], most[places] = latents.flatten(1).amin(1).numpy(), latents.flatten(1).amax(1).numpy()
    ends = [*least.tolist(), *most.tolist()]  # of each image in one process, elsewhere 0
    total, squares, numbers, *ends = world.sum_numbers([total, squares, numbers, *ends])
    mean = total / numbers
    deviation = float(np.sqrt(max(squares / numbers - mean**2, 0.0) * numbers / max(numbers - 1, 1)))
    reaches = np.abs(np.reshape(ends, (2, count)) - mean).max(0) / max(deviation, 1e-6)
    return Latents(mean, deviation, dict(zip(chosen, reaches.tolist(), strict=True)))
