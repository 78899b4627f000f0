"""The objects of one experiment, built from its recipe, its data and what the run folder already holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from latentry import __version__, config
from latentry.checkpoints import model_folder
from latentry.checkpoints.model_folder import ModelFolder
from latentry.checkpoints.run_folder import split_denoiser, trained_weights
from latentry.checkpoints.store import Store
from latentry.data.dataset import ImageData
from latentry.errors import LatentryError, UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_conditioners, named_files
from latentry.models.config import AutoencoderOptions, DataFacts, DiffusionOptions, ModelConfig
from latentry.models.initial import initialise
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.pipeline import Pipeline
from latentry.pipeline.foreign import read_model
from latentry.pipeline.load import assemble
from latentry.rng import key
from latentry.training import objectives
from latentry.training.card import model_card
from latentry.training.loop.compiling import compile_or_not
from latentry.training.loop.stage import weights_of
from latentry.training.loop.world import World
from latentry.training.plan import record
from latentry.training.plan.recipe import Recipe
from latentry.training.plan.record import MODEL
from latentry.training.stages.autoencoder import AutoencoderStage
from latentry.training.stages.diffusion import DiffusionStage
from latentry.training.stages.latents import LatentCache, measure_scale
from latentry.training.stages.preview import Previewer
from latentry.training.stages.values import build_context, check_fields, labels_kept
from latentry.training.stages.warm_start import begin_first_stage, begin_with, files_to_keep, second_stage

DEVIATION_RANGE = (0.5, 2.0)


class Experiment:
    """Builds each stage, and the model folder once a stage is done. fingerprint: of the data."""

    def __init__(
        self,
        recipe: Recipe,
        data: ImageData,
        fingerprint: str,
        out: Path,
        world: World,
        report: Callable[[str], None],
        notes: str = "",
    ) -> None:
        self.recipe, self.data, self.fingerprint, self.out = recipe, data, fingerprint, out
        self.world, self.report, self.notes = world, report, notes
        self.labels = tuple(data.labels)
        self.held_out = data.other("held_out")
        source = read_model(Path(recipe.autoencoder.from_)) if recipe.autoencoder.from_ else None
        self.begun = source if recipe.autoencoder.tune else None
        self.given = assemble(source, str(recipe.autoencoder.from_)) if source and not self.begun else None
        self.texts: dict[str, str] = {}
        self.diffusion: DiffusionOptions | None = None
        if self.architecture.kind == "identity":
            self.given = Pipeline(self.model_config(), self.autoencoder(), None)

    @property
    def architecture(self) -> AutoencoderOptions:
        """Of the first stage."""
        source = self.given or self.begun
        return source.config.autoencoder if source is not None else self.recipe.autoencoder.architecture()

    def model_config(self, **trained: Any) -> ModelConfig:
        """What `model.yaml` will say."""
        o = self.data.options
        facts = DataFacts(
            size=o.height_width,
            channels=o.channels,
            depth=self.data.depth,
            background=o.background,
            labels=self.labels,
        )
        return ModelConfig(
            name=self.recipe.name,
            version=__version__,
            data=facts,
            autoencoder=self.architecture,
            diffusion=self.diffusion,
            sample=self.recipe.sample,
            trained=trained,
        )

    def constants(self) -> dict[str, Any]:
        """What each checkpoint says of the model besides weights."""
        return {"model": self.model_config().model_dump(mode="json", exclude_none=True), "texts": self.texts}

    def autoencoder(self) -> Autoencoder:
        """A fresh first stage; its first weights depend on the seed alone."""
        torch.manual_seed(key(self.recipe.seed, "autoencoder weights", 0))
        recompute = self.recipe.autoencoder.train.checkpoint_activations
        model = Autoencoder(self.architecture, self.data.options.channels, checkpoint=recompute)
        initialise(model)
        return model

    def autoencoder_stage(self) -> AutoencoderStage:
        """The first stage with its objective, ready for the loop."""
        section, channels = self.recipe.autoencoder, self.data.options.channels
        model = self.autoencoder()
        colour = self.data.options.colour
        background = [c / 127.5 - 1 for c in colour] if colour else None
        torch.manual_seed(key(self.recipe.seed, "discriminator weights", 0))
        objective = objectives.build(section.objective, self.architecture.kind, channels, background)
        if self.begun is not None and not Store(self.out / "autoencoder", report=lambda _: None).steps():
            self.report(begin_first_stage(model, objective, self.begun, str(section.from_)))
        if section.train.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.to(self.world.device)
        objective.to(self.world.device)
        if section.train.compile:
            parts = [(model.encoder, "forward"), (model.decoder, "features")]
            compile_or_not(parts, "autoencoder.train.compile", self.world.device, self.report)
        return AutoencoderStage(
            model, objective, section, self.data, self.validation, seed=self.recipe.seed, world=self.world
        )

    @cached_property
    def validation(self) -> ImageData | None:
        """The held-out images, if any of them can be read."""
        if not len(self.held_out):
            return None
        try:
            self.held_out.sample(0)
        except LatentryError as error:
            self.report(f"held-out images: {error} Training goes on without them.")
            return None
        return self.held_out

    def finish_autoencoder(self) -> None:
        """Measure the latent scale and write the first stage into RUN/model, once."""
        if not self.world.chief or record.is_finished(self.recipe, self.out, "autoencoder"):
            return
        if self.given is not None:
            if not model_folder.is_model(self.out / MODEL):
                self._take_over(self.given.autoencoder)
            return
        saved, asked = Store(self.out / "autoencoder", report=self.report).newest(), self.recipe.autoencoder.train.steps
        if saved is None or saved.step < asked:
            raise UsageError(
                f"{self.out}: the autoencoder is at step {saved.step if saved else 0} of {asked}; finish that stage "
                "first (no --stage, or --stage autoencoder), or set autoencoder.train.steps to what it has."
            )
        model = self.autoencoder().to(self.world.device).eval()
        model.load_state_dict(trained_weights(saved, averaged=True))
        self._set_scale(model)
        self._write(model, None, {"autoencoder_steps": saved.step})

    def _take_over(self, given: Autoencoder) -> None:
        """Another model's first stage into RUN/model, which this run reads from now on.

        It keeps its scale, unless the recipe says another, or none was measured because its own run is not finished.
        """
        unmeasured = self.architecture.kind == "kl" and float(given.latent_scale) == 1
        if unmeasured or self.recipe.autoencoder.latent_scale is not None:
            self._set_scale(given)
        self._write(given, None, {})

    def _set_scale(self, model: Autoencoder) -> None:
        """latent_scale: as the recipe says; measured for KL by default."""
        asked, kind = self.recipe.autoencoder.latent_scale, self.architecture.kind
        if isinstance(asked, float):
            model.latent_scale.fill_(asked)
            return
        deviation = measure_scale(model, self.data, self.recipe.seed)
        if asked == "measure" or kind == "kl":
            model.latent_scale.fill_(1 / max(deviation, 1e-6))
            self.report(
                f"autoencoder: deviation of latents {deviation:.4g}, latent_scale {float(model.latent_scale):.4g}"
            )
        elif not DEVIATION_RANGE[0] <= deviation <= DEVIATION_RANGE[1]:
            self.report(
                f"autoencoder: warning: latents deviate by {deviation:.3g}, outside {list(DEVIATION_RANGE)}; "
                "diffusion learns better with `autoencoder.latent_scale: measure`"
            )

    def first_stage(self) -> Autoencoder:
        """The trained first stage with its scale, frozen."""
        folder = self.out / MODEL
        found = None if model_folder.is_model(folder) else self.given  # a rehearsal has no folder
        pipe = found or assemble(model_folder.read(folder), str(folder))
        return pipe.autoencoder.to(self.world.device).eval().requires_grad_(False)

    def denoiser(self, latent_channels: int, report: Callable[[str], None] | None = None) -> LatentDiffusion:
        """A fresh second stage; tokenizers are trained here, once, on the captions."""
        options = self.recipe.diffusion.architecture()
        for name, o in options.conditioning.items():
            check_fields(name, o, self.data)
        torch.manual_seed(key(self.recipe.seed, "diffusion weights", 0))
        saved = Store(self.out / "diffusion", report=lambda _: None).newest()
        source = self.recipe.diffusion.from_ if saved is None else None
        given = second_stage(source) if source else None
        files = saved.state["texts"] if saved else files_to_keep(given, options) if given else {}
        if saved:
            self.labels = labels_kept(saved.state["model"], options.conditioning.values(), self.data)
        context = build_context(self.data, self.labels, files, report or self.report)
        conditioners = build_conditioners(options, dict.fromkeys(options.conditioning, context))
        self.texts = named_files(conditioners)
        complete = {name: c.options for name, c in conditioners.items()}
        self.diffusion = options.model_copy(update={"conditioning": complete})
        model = LatentDiffusion(self.diffusion, latent_channels, conditioners)
        model.unet.checkpoint = self.recipe.diffusion.train.checkpoint_activations
        if given:
            (report or self.report)(begin_with(model, given, str(source)))
        return model.to(self.world.device)

    def diffusion_stage(self) -> DiffusionStage:
        """The second stage, ready for the loop."""
        section = self.recipe.diffusion
        autoencoder = self.first_stage()
        model = self.denoiser(autoencoder.latent_channels)
        if section.train.channels_last:
            model.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        caches: dict[str, LatentCache] = {}
        if section.train.cache_latents:
            for data in (self.data, self.validation):
                if data is not None:
                    caches[data.split] = LatentCache(
                        autoencoder, data, self.fingerprint, self.out / "latents", self.world, self.report
                    )
        if section.train.compile:
            compile_or_not([(model.unet, "forward")], "diffusion.train.compile", self.world.device, self.report)
        pipe = Pipeline(self.model_config(), autoencoder, model)
        previewer = Previewer(pipe, self.validation or self.data, self.recipe.seed)
        return DiffusionStage(
            model,
            autoencoder,
            section,
            self.data,
            self.validation,
            caches,
            seed=self.recipe.seed,
            world=self.world,
            previewer=previewer,
        )

    def finish_diffusion(self) -> None:
        """Write both stages into RUN/model."""
        if not self.world.chief:
            return
        saved = Store(self.out / "diffusion", report=self.report).newest()
        assert saved is not None
        autoencoder = self.first_stage()
        self.labels = tuple(saved.state["model"]["data"].get("labels", ()))
        self.diffusion = config.validate(ModelConfig, saved.state["model"], str(saved.path)).diffusion
        self.texts = saved.state["texts"]
        trained: dict[str, Any] = {"diffusion_steps": saved.step}
        if model_folder.is_model(self.out / MODEL):
            before = model_folder.read(self.out / MODEL, weights=False).config.trained
            if before.get("diffusion_steps") == saved.step:
                return
            trained = {**{k: v for k, v in before.items() if k == "autoencoder_steps"}, **trained}
        self._write(autoencoder, split_denoiser(trained_weights(saved, averaged=True)), trained)

    def _write(
        self,
        autoencoder: Autoencoder,
        denoiser: Mapping[str, Mapping[str, torch.Tensor]] | None,
        trained: dict[str, Any],
    ) -> None:
        options = self.model_config(**trained)
        tensors = {"autoencoder": weights_of(autoencoder), **(denoiser or {})}
        card = model_card(self.recipe, self.data, self.fingerprint, options, notes=self.notes)
        model_folder.write(self.out / MODEL, ModelFolder(options, tensors, self.texts, card))
