"""Settle what a recipe leaves to the machine: `precision: auto`."""

from __future__ import annotations

import torch

from latentry import config
from latentry.training.experiment import Experiment
from latentry.training.plan.precision import choose
from latentry.training.plan.recipe import Recipe, StageTraining, dump


def settle_precision(experiment: Experiment) -> Recipe:
    """The recipe with `auto` replaced by what a few timed passes on this machine choose; all processes agree.

    The experiment goes on with it.
    """
    recipe, device = experiment.recipe, experiment.world.device
    tree, first, second = dump(recipe), recipe.autoencoder.train, recipe.diffusion.train
    if experiment.given is None and first.precision == "auto":
        tree["autoencoder"]["train"]["precision"] = _agreed(experiment, _first(experiment, device))
    if second.precision == "auto":
        tree["diffusion"]["train"]["precision"] = _agreed(experiment, _second(experiment, device))
    experiment.recipe = config.validate(Recipe, tree, f"recipe {recipe.name}")
    return experiment.recipe


def _first(experiment: Experiment, device: torch.device) -> str:
    model = experiment.autoencoder().to(device)
    shape = (_microbatch(experiment, experiment.recipe.autoencoder.train), *experiment.data.shape)

    def work() -> torch.Tensor:
        moments = model.moments(torch.rand(shape, device=device))
        return model.decoder.conv_out(model.features(moments[:, : model.latent_channels])).square().mean()

    return choose(work, device, "auto")


def _second(experiment: Experiment, device: torch.device) -> str:
    architecture = experiment.architecture
    channels = architecture.latent_channels or architecture.z_channels
    height, width = (side // architecture.factor for side in experiment.data.options.height_width)
    model = experiment.denoiser(channels, report=_silent)
    shape = (_microbatch(experiment, experiment.recipe.diffusion.train), channels, height, width)

    def work() -> torch.Tensor:
        x = torch.rand(shape, device=device)
        return model(x, torch.zeros(len(x), device=device), model.condition({}, len(x))).square().mean()

    return choose(work, device, "auto")


def _microbatch(experiment: Experiment, training: StageTraining) -> int:
    return max(1, training.batch // training.accumulate // experiment.world.size)


def _agreed(experiment: Experiment, precision: str) -> str:
    world = experiment.world
    return "bf16" if world.any(world.chief and precision == "bf16") else "fp32"


def _silent(_: str) -> None:
    return None
