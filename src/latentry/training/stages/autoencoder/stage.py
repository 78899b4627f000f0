"""The first stage's step: reconstruct, and play against the discriminator (Rombach et al. 2022, equation 25)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latentry import rng
from latentry.data.dataset import ImageData
from latentry.data.loader import batches
from latentry.data.sample import Example
from latentry.devices import autocast, waits
from latentry.models.autoencoder import Autoencoder
from latentry.nn.posterior import Gaussian
from latentry.nn.quantise import Quantised
from latentry.training.loop.ema import EMA
from latentry.training.loop.optimiser import Updater
from latentry.training.loop.stage import Stage, State, StepResult, Unread, result_of, weights_of
from latentry.training.loop.world import World
from latentry.training.objectives import AdversarialObjective, GeneratorTerms
from latentry.training.recipe.autoencoder import AutoencoderSection, AutoencoderTraining
from latentry.training.stages.ahead import Ahead
from latentry.training.stages.autoencoder.health import Health
from latentry.training.stages.autoencoder.looks import batch_psnr, reconstructed, sheet
from latentry.training.stages.autoencoder.recolour import recoloured
from latentry.training.stages.named import damaged_paths, paths_of

NAME = "autoencoder"
POSTERIOR = "posterior"
"""The stream of its noise in training steps."""
CRITIC_NORM = "discriminator_gradient_norm"


class Seen(NamedTuple):
    """Images and reconstructions (B, C, H, W) of a part of a batch, and its share of the whole."""

    x: Tensor
    reconstruction: Tensor
    share: float


class AutoencoderStage(Stage):
    """Trains `model` and, if the objective has one, its discriminator."""

    name = NAME
    headline = ("psnr", "held_out_psnr", "train_psnr")
    model: Autoencoder
    training: AutoencoderTraining

    def __init__(
        self,
        model: Autoencoder,
        objective: AdversarialObjective,
        section: AutoencoderSection,
        data: ImageData,
        held_out: ImageData | None,
        *,
        seed: int,
        world: World,
    ) -> None:
        self.model, self.objective, self.section, self.training = model, objective, section, section.train
        self.data, self.seed, self.world = data, seed, world
        self.shown, self.split = (data, "train") if held_out is None else (held_out, "held_out")
        self.health = Health(model.options.kind, model.options.codes, world.device)
        weights = dict(model.named_parameters())
        extra = {"log_variance": objective.log_variance} if section.objective.learn_log_variance else {}
        self.updater = Updater({**weights, **extra}, self.training, self.training.rate(), world)
        self.ema = EMA(weights, self.training.ema) if self.training.ema else None
        self.ahead = Ahead(self._drawn)
        self.noise_shape: torch.Size | None = None
        self.critic: Updater | None = None
        if objective.discriminator is not None:
            rate = self.training.discriminator_lr or self.training.rate()
            self.critic = Updater(dict(objective.discriminator.named_parameters()), self.training, rate, world)

    def batches(self, start: int) -> Iterator[list[Example]]:
        """The parts of each step from `start` on."""
        t = self.training

        def positions(part: int) -> list[int]:
            step, number = divmod(part, t.accumulate)
            return [step * t.batch + place for place in self.world.share(t.batch, t.accumulate, number)]

        pin = self.world.device.type == "cuda"
        source = batches(self.data, start * t.accumulate, positions_of=positions, workers=t.workers, pin=pin)
        while True:
            yield [next(source) for _ in range(t.accumulate)]

    def reconstruct(self, x: Tensor, places: list[int], step: int, stream: str) -> tuple[Tensor, Gaussian | Quantised]:
        """Decoder features, and the posterior or codes they were made of."""
        with autocast(self.world.device, self.training.precision):
            moments = self.model.moments(x)
        moments = moments.float()
        latent: Gaussian | Quantised
        if self.model.quantiser is None:
            latent = self.model.posterior(moments)
            z = latent.sample(self._noise(stream, places, step, latent.mean.shape[1:]))
        else:
            latent = self.model.quantise(moments)
            z = latent.z
        with autocast(self.world.device, self.training.precision):
            return self.model.features(z), latent

    def _noise(self, stream: str, places: Sequence[int], step: int, shape: torch.Size) -> Tensor:
        """Of the posterior (B, c, h, w)."""
        self.noise_shape = shape
        return self.ahead(stream, tuple(places), step, shape).to(self.world.device, non_blocking=True)

    def _drawn(self, stream: str, places: Sequence[int], step: int, shape: Sequence[int]) -> Tensor:
        drawn = rng.normal(self.seed, stream, places, step, shape)
        return drawn.pin_memory() if self.world.device.type == "cuda" else drawn

    def _foresee(self, step: int, parts: int) -> None:
        """Have this step's noise, where it is not there yet, and the next one's drawn beside this step."""
        if self.noise_shape is not None:
            for at in (step, step + 1):
                for number in range(parts):
                    self.ahead.foresee(POSTERIOR, tuple(self._places(number)), at, self.noise_shape)

    def step(self, step: int, parts: list[Example]) -> StepResult | Unread:
        """One update of the autoencoder, then one of the discriminator once it takes part."""
        self.model.train()
        self.objective.train()
        self._foresee(step, len(parts))
        buffers = [b.clone() for b in self.objective.buffers()]
        sums, seen = self._generator(step, parts)
        sums |= {"gradient_norm": self.updater.reduce()}
        finite = sums["loss"].isfinite() & sums["gradient_norm"].isfinite()
        self.updater.step(step, sums["gradient_norm"], finite)
        if self.ema:
            self.ema.update(finite)
        bad = [self.updater.bad_gradients()]
        if self.critic is not None and self.objective.learns(step) and (waits(self.world.device) or bool(finite)):
            sums |= self._discriminator(step, seen)
            sums |= {CRITIC_NORM: self.critic.reduce()}
            finite = finite & sums[CRITIC_NORM].isfinite()
            self.critic.step(step, sums[CRITIC_NORM], finite)
            bad.append(self.critic.bad_gradients())
        for buffer, before in zip(self.objective.buffers(), buffers, strict=True):
            buffer.copy_(torch.where(finite, buffer, before))
        return result_of(torch.stack(list(sums.values())), partial(self._result, list(sums), bad))

    @staticmethod
    def _result(names: list[str], bad: list[Callable[[], list[str]]], numbers: list[float]) -> StepResult:
        metrics = dict(zip(names, numbers, strict=True))
        finite = math.isfinite(metrics["gradient_norm"]) and math.isfinite(metrics["loss"])
        if not finite:  # then the discriminator had nothing to learn
            metrics = dict(list(metrics.items())[: names.index("gradient_norm") + 1])
        finite = finite and math.isfinite(metrics.get(CRITIC_NORM, 0.0))
        return StepResult(metrics, finite, () if finite else [name for told in bad for name in told()])

    def _generator(self, step: int, parts: list[Example]) -> tuple[dict[str, Tensor], list[Seen]]:
        """Gradients of the autoencoder, summed over parts and processes; the numbers of the step, and what was seen."""
        self.updater.zero()
        sums: dict[str, Tensor] = {}
        seen = []
        for number, batch in enumerate(parts):
            x, places, share = self._part(step, batch, number)
            torch.manual_seed(rng.key(self.seed, f"dropout {self.world.rank} {number}", step))
            features, latent = self.reconstruct(x, places, step, POSTERIOR)
            terms = self.objective.generator_loss(x, features, self.model.decoder.conv_out, latent, step)
            (terms.loss * share).backward()
            self._add(sums, self._named(terms, latent) | {"psnr": batch_psnr(terms.reconstruction, x)}, share)
            if isinstance(latent, Quantised):
                self.health.count(latent.indices)
            seen.append(Seen(x, terms.reconstruction, share))
        return self._summed(sums), seen

    def _discriminator(self, step: int, seen: list[Seen]) -> dict[str, Tensor]:
        """Gradients of the discriminator, of what the autoencoder made before it was updated; the numbers of the step.

        The published code makes the reconstructions again, with the weights just updated: a third of a step more.
        """
        assert self.critic is not None
        self.critic.zero()
        sums: dict[str, Tensor] = {}
        for x, fake, share in seen:
            terms = self.objective.discriminator_loss(x, fake, step)
            (terms.loss * share).backward()
            own = terms.loss / terms.factor
            named = {"discriminator_loss": own, "logits_real": terms.real, "logits_fake": terms.fake}
            self._add(sums, named, share)
        return self._summed(sums)

    def _places(self, number: int) -> range:
        """In the global batch, of a part."""
        return self.world.share(self.training.batch, self.training.accumulate, number)

    def _part(self, step: int, batch: Example, number: int) -> tuple[Tensor, list[int], float]:
        """Images on the device as they are trained on, their places in the global batch, and their share of it."""
        places = self._places(number)
        assert batch.image is not None
        x = batch.image.to(self.world.device, non_blocking=True)
        alpha = x.shape[1] in (2, 4) and self.data.source.transparent
        x = recoloured(x, self.training.recolour, self.seed, places, step, alpha=alpha)
        if self.training.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return x, list(places), len(places) / self.training.batch

    def _named(self, terms: GeneratorTerms, latent: Gaussian | Quantised) -> dict[str, Tensor]:
        regulariser = "kl" if isinstance(latent, Gaussian) else "codebook_loss"
        named = {
            "loss": terms.loss,
            "pixel": terms.pixel,
            "perceptual": terms.perceptual,
            regulariser: terms.regulariser,
        }
        if self.objective.discriminator is not None:
            named |= {"adversarial": terms.adversarial, "adaptive_weight": terms.weight}
        return named

    @staticmethod
    def _add(sums: dict[str, Tensor], named: Mapping[str, Tensor], share: float) -> None:
        for key, value in named.items():
            sums[key] = sums.get(key, 0.0) + value.detach() * share

    def _summed(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Sums over processes."""
        total = self.world.sum_(torch.stack(list(sums.values())))
        return dict(zip(sums, total.unbind(), strict=True))

    def validate(self, step: int) -> dict[str, float]:
        """PSNR of reconstructions and the latent's statistics, on fixed held-out images, with the averaged weights.

        Relative to the range that the images use, where that is a small part of the whole.
        """
        self.model.eval()
        with self.ema.applied() if self.ema else nullcontext():
            score, moments = reconstructed(self.model, self.shown)
        row = {f"{self.split}_psnr": score, **self.health.latents(moments)}
        if self.critic is None:
            return row
        return row | self.health.reconstructed(score, before=not self.objective.factor(step - 1))

    def warnings(self, metrics: Mapping[str, float], step: int) -> list[str]:
        """What goes wrong, in plain words."""
        return self.health.warnings(metrics, step)

    def preview(self, path: Path) -> None:
        """Held-out images beside their reconstructions."""
        self.model.eval()
        with self.ema.applied() if self.ema else nullcontext():
            sheet(self.model, self.shown, path)

    def updaters(self) -> dict[str, Updater]:
        """Of the autoencoder, and of the discriminator."""
        return {"": self.updater} | ({"discriminator_": self.critic} if self.critic is not None else {})

    def files(self, step: int) -> list[str]:
        """Paths of the batch."""
        return paths_of(self.data, step, self.training.batch)

    def damaged(self, parts: list[Example]) -> list[str]:
        """Paths of images with values that are not finite."""
        return damaged_paths(self.data, parts)

    def modules(self) -> dict[str, nn.Module]:
        """The networks that it trains, by name."""
        critic = self.objective.discriminator
        return {"autoencoder": self.model} | ({"discriminator": critic} if critic is not None else {})

    def costliest_step(self) -> int:
        """The discriminator's start."""
        options = self.section.objective.discriminator
        return options.start if options is not None else 0

    def state(self) -> State:
        """Weights, discriminator, averages, both optimisers."""
        tensors = {
            "model": weights_of(self.model),
            "optimiser": self.updater.state(),
            "objective": weights_of(self.objective),
        }
        if self.critic is not None:
            tensors["discriminator_optimiser"] = self.critic.state()
        if self.ema:
            tensors["ema"] = self.ema.state()
        return State({name: group for name, group in tensors.items() if group}, {"health": self.health.state()})

    def load(self, state: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.objective.load_state_dict(state.get("objective", {}))
        self.updater.load(state.get("optimiser", {}))
        if self.critic is not None:
            self.critic.load(state.get("discriminator_optimiser", {}))
        if self.ema:
            self.ema.load(state["ema"])
        self.health.load(values["health"])
