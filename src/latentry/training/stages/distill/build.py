"""The distillation as an entry of the table: built from a plan, finished into a model folder in the place of what it
was distilled from."""

from __future__ import annotations

from dataclasses import replace

import torch

from latentry.checkpoints.run_folder import split_denoiser, trained_weights
from latentry.checkpoints.store import Saved, Store
from latentry.devices import set_formats, without_weights
from latentry.errors import UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.models.config import Distilled, ModelConfig, SampleOptions
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.models.modes.compiling import compile_or_not
from latentry.pipeline import Pipeline
from latentry.pipeline.sampling import chosen_levels
from latentry.training.loop.stage import weights_of
from latentry.training.plan.plan import Plan
from latentry.training.recipe.distill import DistillSection
from latentry.training.stages.diffusion.build import check_nulls, probe
from latentry.training.stages.diffusion.preview import Previewer
from latentry.training.stages.distill.stage import NAME, DistillStage
from latentry.training.stages.distill.teacher import PathEnds, Teacher
from latentry.training.stages.examples import caches_of
from latentry.training.stages.kind import Parts, StageKind
from latentry.training.stages.publish import add_to_model


def section_of(plan: Plan) -> DistillSection:
    """What the recipe says of it."""
    section = plan.recipe.section(NAME)
    assert isinstance(section, DistillSection)
    return section


def teaching(plan: Plan) -> SampleOptions:
    """How the teacher samples, with the guidance that is folded in."""
    section, sample = section_of(plan), plan.recipe.sample
    guidance = sample.guidance if section.guidance is None else section.guidance
    return sample.model_copy(update={"guidance": guidance})


def build(plan: Plan, parts: Parts) -> DistillStage:
    """A copy of the second stage, to be trained beside it."""
    section, world, seed, (autoencoder, teacher) = section_of(plan), plan.world, plan.recipe.seed, _parts(parts)
    model = build_denoiser(plan.model, plan.texts, autoencoder)
    model.load_state_dict(weights_of(teacher))
    model.unet.checkpoint = section.train.checkpoint_activations
    set_formats(world.device, section.train.precision)
    model.to(world.device)
    if section.train.channels_last:
        model.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    caches = caches_of(plan, autoencoder, section.train.workers) if section.train.cache_latents else {}
    if section.train.compile:
        compile_or_not([(model.unet, "forward")], "distill.train.compile", world.device, plan.report)
    before = Pipeline(plan.model.model_copy(update={"sample": teaching(plan)}), autoencoder, teacher)
    after = Pipeline(described(plan), autoencoder, model)
    splits = {"held_out": plan.held_out, "train": plan.data}
    return DistillStage(
        model,
        Teacher(teacher, teaching(plan)),
        autoencoder,
        section,
        plan.data,
        caches,
        seed=seed,
        world=world,
        distances={split: PathEnds(before, after, data, seed) for split, data in splits.items() if data},
        previewer=Previewer(after, plan.held_out or plan.data, seed),
    )


def _parts(parts: Parts) -> tuple[Autoencoder, LatentDiffusion]:
    autoencoder, teacher = parts["autoencoder"], parts["diffusion"]
    assert isinstance(autoencoder, Autoencoder)
    assert isinstance(teacher, LatentDiffusion)
    return autoencoder, teacher


def described(plan: Plan) -> ModelConfig:
    """What `model.yaml` says of the distilled model: where it comes from, and that it samples in its own way."""
    taken = plan.sources.taken
    name, made_of = (plan.recipe.name, "") if taken is None else (taken.config.name, taken.hash)
    distilled = Distilled(name=name, hash=made_of, guidance=teaching(plan).guidance)
    return plan.model.model_copy(update={"distilled": distilled, "sample": section_of(plan).sample})


def finish(plan: Plan, parts: Parts, saved: Saved | None) -> Parts:
    """Write the distilled denoiser into RUN/model, in the place of the one it was distilled from."""
    assert saved is not None
    tensors = split_denoiser(trained_weights(saved, averaged=True))
    first = {"autoencoder": weights_of(parts["autoencoder"])}
    add_to_model(replace(plan, model=described(plan)), {**first, **tensors}, {f"{NAME}_steps": saved.step})
    return parts


def check(plan: Plan) -> None:
    """Raise UsageError for a model that cannot be distilled so, and for another one than the run began with."""
    diffusion, taken, section = plan.model.diffusion, plan.sources.taken, section_of(plan)
    if diffusion is None:  # the plan has its reason already
        return
    source = plan.recipe.diffusion.from_ or "the recipe's model"
    if taken is not None and taken.config.distilled is not None:
        of = taken.config.distilled.name
        raise UsageError(
            f"{source}: is distilled already, from {of}; what it predicts leads along no path. Name that model."
        )
    if diffusion.prediction == "regression":
        raise UsageError(f"{source}: samples in one step as it is (prediction: regression). Leave `distill` out.")
    saved = Store(plan.out / NAME, report=lambda _: None).newest()
    if saved is not None and saved.state["model"].get("distilled") != described(plan).model_dump()["distilled"]:
        raise UsageError(
            f"{source}: is not the model that {plan.out} began to distill: its weights have changed since, or its "
            "guidance. Choose another --out."
        )
    with without_weights():
        model = build_denoiser(plan.model, plan.texts)
    check_nulls(model, section.train, NAME)
    _check_guided(model, teaching(plan))
    try:
        chosen_levels(model.schedule, section.sample)
    except UsageError as error:
        raise UsageError(f"distill.sample.{error}") from None


def _check_guided(model: LatentDiffusion, sample: SampleOptions) -> None:
    """Guidance needs a prediction without conditions."""
    always = [name for name, conditioner in model.named_conditioners().items() if not conditioner.has_null]
    if always and sample.guidance != 1:
        raise UsageError(
            f"distill.guidance: {sample.guidance:g}, but {', '.join(always)} cannot be absent, so that there is "
            "nothing to lead away from; accepted: 1. Set it to 1."
        )


KIND = StageKind(
    DistillSection, build, finish, needs=("autoencoder", "diffusion"), check=check, probe=probe, model=described
)
