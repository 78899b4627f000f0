"""The first stage as an entry of the table: built from a plan, finished into a model folder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentry import rng
from latentry.checkpoints import model_folder
from latentry.checkpoints.run_folder import MODEL, trained_weights
from latentry.checkpoints.store import Saved, Store
from latentry.devices import set_formats, without_weights
from latentry.models.autoencoder import Autoencoder
from latentry.models.initial import initialise
from latentry.models.modes.compiling import compile_or_not
from latentry.pipeline.load import assemble
from latentry.training import objectives
from latentry.training.loop.stage import weights_of
from latentry.training.plan.plan import Plan
from latentry.training.recipe.autoencoder import AutoencoderSection
from latentry.training.stages.autoencoder.scale import kept_scale, set_scale, take_scale
from latentry.training.stages.autoencoder.stage import NAME, AutoencoderStage
from latentry.training.stages.kind import Parts, StageKind
from latentry.training.stages.publish import write_model
from latentry.training.stages.warm_start import begin_first_stage


def fresh(plan: Plan) -> Autoencoder:
    """A first stage with its first weights, which depend on the seed alone."""
    torch.manual_seed(rng.key(plan.recipe.seed, "autoencoder weights", 0))
    recompute = plan.recipe.autoencoder.train.checkpoint_activations
    model = Autoencoder(plan.model.autoencoder, plan.model.data.channels, checkpoint=recompute)
    initialise(model)
    return model


def build(plan: Plan, _: Parts) -> AutoencoderStage:
    """The first stage with its objective."""
    section, world, model = plan.recipe.autoencoder, plan.world, fresh(plan)
    colour = plan.data.options.colour
    background = [c / 127.5 - 1 for c in colour] if colour else None
    torch.manual_seed(rng.key(plan.recipe.seed, "discriminator weights", 0))
    objective = objectives.build(section.objective, model.options.kind, plan.model.data.channels, background)
    if section.tune and plan.sources.first is not None and not Store(plan.out / NAME).steps():
        plan.report(begin_first_stage(model, objective, plan.sources.first, str(section.from_)))
    if section.train.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    set_formats(world.device, section.train.precision)
    model.to(world.device)
    objective.to(world.device)
    if section.train.compile:
        parts = [(model.encoder, "forward"), (model.decoder, "features")]
        compile_or_not(parts, "autoencoder.train.compile", world.device, plan.report)
    return AutoencoderStage(model, objective, section, plan.data, plan.held_out, seed=plan.recipe.seed, world=world)


def ready(plan: Plan) -> Autoencoder | None:
    """The first stage that the recipe gives, if it gives one."""
    if plan.recipe.autoencoder.trains:
        return None
    if plan.sources.first is None:  # of kind `identity`
        return fresh(plan)
    return assemble(plan.sources.first, str(plan.recipe.autoencoder.from_)).autoencoder


def finish(plan: Plan, parts: Parts, saved: Saved | None) -> Parts:
    """Write the first stage with its scale into RUN/model, once; from then on all read it there. It is frozen."""
    folder, model = plan.out / MODEL, None
    if saved is not None:
        model = fresh(plan).to(plan.world.device).eval()
        model.load_state_dict(trained_weights(saved, averaged=True))
        if not kept_scale(folder, model):
            set_scale(plan, model)
        write_model(plan, {"autoencoder": weights_of(model)}, {"autoencoder_steps": saved.step})
    elif not model_folder.is_model(folder) or model_folder.damage(folder):
        model = ready(plan)
        assert model is not None
        model.to(plan.world.device)
        take_scale(plan, model)
        write_model(plan, {"autoencoder": weights_of(model)}, {})
    plan.world.barrier()
    model = assemble(model_folder.read(folder), str(folder)).autoencoder
    return {**parts, NAME: model.to(plan.world.device).eval().requires_grad_(False)}


def check(plan: Plan) -> None:
    """Whether the networks and the objective can be built: on the meta device, and the perceptual net is found."""
    section, channels = plan.recipe.autoencoder, plan.model.data.channels
    if section.from_ is None:
        with without_weights():
            Autoencoder(plan.model.autoencoder, channels)
    if section.trains:
        objectives.build(section.objective, plan.model.autoencoder.kind, channels)


def probe(plan: Plan) -> Callable[..., Tensor]:
    """A forward pass of images of noise."""
    device, model = plan.world.device, fresh(plan).to(plan.world.device)
    shape = plan.data.shape

    def work(images: int = 1) -> Tensor:
        moments = model.moments(torch.rand((images, *shape), device=device))
        image: Tensor = model.decoder.conv_out(model.features(moments[:, : model.latent_channels]))
        return image.square().mean()

    return work


KIND = StageKind(AutoencoderSection, build, finish, check=check, ready=ready, probe=probe)
