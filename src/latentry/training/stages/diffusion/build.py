"""The second stage as an entry of the table: built from a plan, finished into a model folder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentry import rng
from latentry.checkpoints.run_folder import split_denoiser, trained_weights
from latentry.checkpoints.store import Saved, Store
from latentry.conditioning import reads_of, values_of
from latentry.data.sample import joined
from latentry.devices import set_formats, without_weights
from latentry.errors import UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.models.modes.compiling import compile_or_not
from latentry.pipeline import Pipeline
from latentry.pipeline.load import assemble
from latentry.pipeline.sampling import chosen_levels
from latentry.training.loop.stage import weights_of
from latentry.training.plan.plan import Plan
from latentry.training.recipe.diffusion import DiffusionSection, DroppingTraining
from latentry.training.stages.autoencoder import build as first_stage
from latentry.training.stages.diffusion.evaluator import Evaluator
from latentry.training.stages.diffusion.preview import Previewer
from latentry.training.stages.diffusion.stage import DiffusionStage
from latentry.training.stages.examples import caches_of
from latentry.training.stages.kind import Parts, StageKind
from latentry.training.stages.publish import add_to_model
from latentry.training.stages.warm_start import begin_with


def build(plan: Plan, parts: Parts) -> DiffusionStage:
    """The second stage on the frozen first one."""
    section, world, seed = plan.recipe.diffusion, plan.world, plan.recipe.seed
    autoencoder = parts["autoencoder"]
    assert isinstance(autoencoder, Autoencoder)
    model = fresh(plan, autoencoder)
    if plan.sources.second is not None:
        plan.report(begin_with(model, plan.sources.second, str(section.from_)))
    model.unet.checkpoint = section.train.checkpoint_activations
    set_formats(world.device, section.train.precision)
    model.to(world.device)
    if section.train.channels_last:
        model.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    caches = caches_of(plan, autoencoder, section.train.workers) if section.train.cache_latents else {}
    if section.train.compile:
        compile_or_not([(model.unet, "forward")], "diffusion.train.compile", world.device, plan.report)
    pipe, wanted = Pipeline(plan.model, autoencoder, model), section.train.evaluate
    previewer = Previewer(pipe, plan.held_out or plan.data, seed)
    evaluator = None if wanted is None else Evaluator(pipe, plan.data, wanted, seed)
    looks = {"previewer": previewer, "evaluator": evaluator}
    return DiffusionStage(
        model,
        autoencoder,
        section,
        plan.data,
        plan.held_out,
        caches,
        seed=seed,
        world=world,
        **looks,  # type: ignore[arg-type]
    )


def fresh(plan: Plan, autoencoder: Autoencoder | None) -> LatentDiffusion:
    """A second stage with its first weights, which depend on the seed alone."""
    torch.manual_seed(rng.key(plan.recipe.seed, "diffusion weights", 0))
    return build_denoiser(plan.model, plan.texts, autoencoder)


def ready(plan: Plan) -> LatentDiffusion | None:
    """The second stage that the recipe gives, if it gives one."""
    taken = plan.sources.taken
    return None if taken is None else assemble(taken, str(plan.recipe.diffusion.from_)).denoiser


def finish(plan: Plan, parts: Parts, saved: Saved | None) -> Parts:
    """Write both stages into RUN/model. The second is handed on, frozen, where another stage will work on it."""
    autoencoder = parts["autoencoder"]
    if saved is not None:
        denoiser = split_denoiser(trained_weights(saved, averaged=True))
        add_to_model(plan, {"autoencoder": weights_of(autoencoder), **denoiser}, {"diffusion_steps": saved.step})
    if "distill" not in plan.stages:
        return parts
    model = ready(plan)
    if model is None:
        saved = saved or Store(plan.out / "diffusion").newest()
        assert saved is not None
        assert isinstance(autoencoder, Autoencoder)
        model = build_denoiser(plan.model, plan.texts, autoencoder)
        model.load_state_dict(trained_weights(saved, averaged=True))
    return {**parts, "diffusion": model.to(plan.world.device).eval().requires_grad_(False)}


def check(plan: Plan) -> None:
    """Whether the networks can be built and sampled as the recipe says, on the meta device."""
    if plan.sources.saved is not None or plan.sources.taken is not None:  # an earlier start, or run, has it behind it
        return
    with without_weights():
        model = build_denoiser(plan.model, plan.texts)
    check_nulls(model, plan.recipe.diffusion.train, "diffusion")
    _check_sizes(model, plan.model.autoencoder.factor)
    if model.prediction.regresses and not model.conditioners:
        raise UsageError(
            "diffusion.prediction: regression without a condition would predict the mean of all images; accepted with "
            "diffusion.conditioning, such as an image of lower resolution. Give one, or set epsilon."
        )
    try:
        chosen_levels(model.schedule, plan.recipe.sample)
    except UsageError as error:
        raise UsageError(f"sample.{error}") from None


def _check_sizes(model: LatentDiffusion, factor: int) -> None:
    """Raise UsageError for a condition whose maps do not come out as large as the latent."""
    for name, conditioner in model.named_conditioners().items():
        if conditioner.shrinks not in (None, factor):
            halved = hasattr(conditioner.options, "stages")
            fits = f"stages: {factor.bit_length() - 1}" if halved else f"factor: {factor}"
            raise UsageError(
                f"diffusion.conditioning.{name}: what it concatenates is {conditioner.shrinks} times smaller than the "
                f"image, the latent of this first stage {factor} times; both must be the same. Set {fits}."
            )


def check_nulls(model: LatentDiffusion, training: DroppingTraining, stage: str) -> None:
    """Raise UsageError for a condition that training would drop, but that cannot be absent."""
    for name, conditioner in model.named_conditioners().items():
        if conditioner.has_null or not (training.drop(name) or training.drop_all):
            continue
        if training.drop_all:
            keys, fix = f"drop_all is {training.drop_all:g}", "it is never dropped with drop_all 0"
        else:
            keys = f"drop_condition is {training.drop(name):g} for it"
            fix = f"it can be trained with drop_condition {{{name}: 0}}"
        raise UsageError(
            f'diffusion.conditioning.{name}: has no "none" to be dropped to (null: none), and {stage}.train.{keys}; '
            f"{fix}. Set that, or give it a null row by leaving null out."
        )


def probe(plan: Plan) -> Callable[..., Tensor]:
    """A forward pass of latents of noise."""
    first, device = plan.model.autoencoder, plan.world.device
    through = first_stage.ready(plan) or first_stage.fresh(plan)  # where conditions pass through it
    model = fresh(plan, through.to(device)).to(device)
    height, width = (side // first.factor for side in plan.data.options.height_width)
    shape = (first.latent_channels or first.z_channels, height, width)

    conditioners = model.named_conditioners()
    value = values_of(conditioners, plan.recipe.seed, plan.data.sample(0, reads_of(conditioners)))

    def work(images: int = 1) -> Tensor:
        x = torch.rand((images, *shape), device=device)
        values = joined([value] * images)
        return model(x, torch.zeros(len(x), device=device), model.condition(values, len(x))).square().mean()

    return work


KIND = StageKind(DiffusionSection, build, finish, needs=("autoencoder",), check=check, ready=ready, probe=probe)
