"""The classifier of noisy latents as an entry of the table: built from a plan, finished into a model folder."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from latentry import rng
from latentry.checkpoints.run_folder import trained_weights
from latentry.checkpoints.store import Saved
from latentry.devices import set_formats, without_weights
from latentry.diffusion.schedule import build_schedule
from latentry.models.autoencoder import Autoencoder
from latentry.models.classifier import LatentClassifier
from latentry.models.modes.compiling import compile_or_not
from latentry.training.plan.plan import Plan
from latentry.training.recipe.classifier import ClassifierSection, ClassifierTraining
from latentry.training.stages.classifier.classes import NAME
from latentry.training.stages.classifier.stage import ClassifierStage
from latentry.training.stages.examples import caches_of
from latentry.training.stages.kind import Parts, StageKind
from latentry.training.stages.publish import add_to_model


def training_of(plan: Plan) -> ClassifierTraining:
    """How it is trained."""
    section = plan.recipe.section(NAME)
    assert isinstance(section, ClassifierSection)
    return section.train


def fresh(plan: Plan) -> LatentClassifier:
    """A classifier with its first weights, which depend on the seed alone."""
    first, options = plan.model.autoencoder, plan.model.classifier
    assert options is not None
    torch.manual_seed(rng.key(plan.recipe.seed, "classifier weights", 0))
    return LatentClassifier(options, first.latent_channels or first.z_channels)


def build(plan: Plan, parts: Parts) -> ClassifierStage:
    """The classifier on the frozen first stage, by the schedule of the second."""
    training, world, autoencoder = training_of(plan), plan.world, parts["autoencoder"]
    assert isinstance(autoencoder, Autoencoder)
    model = fresh(plan)
    model.checkpoint = training.checkpoint_activations
    set_formats(world.device, training.precision)
    model.to(world.device)
    if training.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if training.compile:
        compile_or_not([(model, "forward")], "classifier.train.compile", world.device, plan.report)
    caches = caches_of(plan, autoencoder, training.workers) if training.cache_latents else {}
    schedule, seed = build_schedule(plan.recipe.diffusion.schedule), plan.recipe.seed
    return ClassifierStage(
        model, autoencoder, training, schedule, plan.data, plan.held_out, caches, seed=seed, world=world
    )


def finish(plan: Plan, parts: Parts, saved: Saved | None) -> Parts:
    """Write the classifier into RUN/model, beside what is there."""
    assert saved is not None
    add_to_model(plan, {NAME: trained_weights(saved, averaged=True)}, {"classifier_steps": saved.step})
    return parts


def check(plan: Plan) -> None:
    """Whether the network can be built: on the meta device."""
    if plan.model.classifier is not None:  # else the plan has its reason already
        with without_weights():
            fresh(plan)


def probe(plan: Plan) -> Callable[..., Tensor]:
    """A forward pass of latents of noise."""
    first, device = plan.model.autoencoder, plan.world.device
    model = fresh(plan).to(device)
    height, width = (side // first.factor for side in plan.data.options.height_width)
    shape = (first.latent_channels or first.z_channels, height, width)

    def work(images: int = 1) -> Tensor:
        x, t = torch.rand((images, *shape), device=device), torch.zeros(images, device=device)
        return F.cross_entropy(model(x, t), torch.zeros(images, dtype=torch.int64, device=device))

    return work


KIND = StageKind(ClassifierSection, build, finish, needs=("autoencoder",), check=check, probe=probe)
