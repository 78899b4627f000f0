"""The second stage's step: noise the latent, predict, compare (Rombach et al. 2022, equations 2 and 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentry import rng
from latentry.checkpoints.best import Score
from latentry.conditioning import reads_of, values_of
from latentry.data.dataset import ImageData
from latentry.data.sample import Example
from latentry.devices import autocast
from latentry.diffusion.objective import Objective
from latentry.diffusion.process import q_sample
from latentry.models.autoencoder import Autoencoder
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.training.loop.signals import check_stop
from latentry.training.loop.stage import State, StepResult, Unread
from latentry.training.loop.world import World
from latentry.training.recipe.diffusion import DiffusionSection, DiffusionTraining
from latentry.training.stages.ahead import Ahead
from latentry.training.stages.diffusion.draws import Draws, draw
from latentry.training.stages.latents import LatentCache
from latentry.training.stages.on_latents import LatentStage

NAME = "diffusion"
QUARTERS = 4
TRAIN = "train"
"""The stream of what is drawn in training steps."""


class DiffusionStage(LatentStage):
    """Trains the denoiser and its conditioners."""

    name = NAME
    headline = ("error", "held_out_error")
    model: LatentDiffusion
    training: DiffusionTraining

    def __init__(
        self,
        model: LatentDiffusion,
        autoencoder: Autoencoder,
        section: DiffusionSection,
        data: ImageData,
        held_out: ImageData | None,
        caches: Mapping[str, LatentCache],
        *,
        seed: int,
        world: World,
        previewer: Callable[[Path], None] | None = None,
        evaluator: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        self.section, self.held_out, self.previewer, self.evaluator = section, held_out, previewer, evaluator
        self.objective = Objective(section.objective, model.schedule, section.prediction).to(world.device)
        learned = section.objective.learn_log_variance
        self.log_variance = nn.Parameter(self.objective.initial_log_variance().to(world.device), requires_grad=learned)
        extra = {"log_variance": self.log_variance} if learned else {}
        super().__init__(model, autoencoder, section.train, data, caches, seed=seed, world=world, extra=extra)
        conditioners = model.named_conditioners()
        self.values = partial(values_of, conditioners, seed)
        self.reads = reads_of(conditioners)
        self.drop = {name: self.training.drop(name) for name in model.conditioners}
        self.best: dict[str, float] = {}
        self.ahead = Ahead(self._drawn)

    def batches(self, start: int) -> Iterator[list[Example]]:
        """The parts of each step from `start` on."""
        return self.latents.batches(self.data, start, self.values, self.reads)

    def draw(self, stream: str, places: Iterable[int], step: int, shape: Sequence[int]) -> Draws:
        """What is random in a step, for each place by itself; see `draws.draw`."""
        make = self.ahead if stream == TRAIN else self._drawn
        return make(stream, tuple(places), step, tuple(shape)).on(self.world.device)

    def _drawn(self, stream: str, places: Sequence[int], step: int, shape: Sequence[int]) -> Draws:
        drawn = draw(
            self.seed,
            stream,
            places,
            step,
            shape,
            times=self.model.schedule.steps,
            conditioners=len(self.model.conditioners),
            posterior=self.autoencoder.options.kind == "kl",
            together=self.training.drop_all > 0,
        )
        return drawn.pinned() if self.world.device.type == "cuda" else drawn

    def _places(self, example: Example) -> tuple[int, ...]:
        """In the global batch, which are the same in every step."""
        return tuple(position % self.training.batch for position in example.positions)

    def _latent_shape(self, example: Example) -> tuple[int, ...]:
        assert example.moments is not None
        return (self.autoencoder.latent_channels, *example.moments.shape[2:])

    def kept(self, draws: Draws) -> dict[str, Tensor]:
        """For each conditioner whether an image keeps it in training, (B,) bool."""
        all_kept = draws.chance_all >= self.training.drop_all
        return {
            name: (chance >= self.drop[name]) & all_kept for name, chance in zip(self.drop, draws.chances, strict=True)
        }

    def losses(
        self,
        example: Example,
        step: int,
        stream: str = TRAIN,
        drop: bool = False,
        places: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(loss to minimise, plain error a sample (B,), t (B,)); every draw is fixed by stream, place and step.

        places: of the samples, by default those in the global batch. drop: leave conditions out, as in training.
        """
        assert example.moments is not None
        places = self._places(example) if places is None else places
        draws = self.draw(stream, places, step, self._latent_shape(example))
        t, noise = draws.t, draws.noise
        z = self.autoencoder.latent(example.moments, draws.posterior)
        alpha, sigma = self.model.schedule.at(t)
        z_t, t = self.model.seen(q_sample(z, noise, alpha, sigma), t)
        with autocast(self.world.device, self.training.precision):
            if drop:
                cond = self.model.dropped(example.values, self.kept(draws))
            else:
                cond = self.model.condition(example.values, len(t))
            out = self.model(z_t, t, cond)
        target = self.model.prediction.target(z, noise, alpha, sigma)
        loss = self.objective(out, target, t, self.log_variance)
        return loss.total, loss.simple, t

    def step(self, step: int, parts: list[Example]) -> StepResult | Unread:
        """One update of every weight."""
        self.model.train()
        self.updater.zero()
        for at in (step, step + 1):
            for example in parts:
                self.ahead.foresee(TRAIN, self._places(example), at, self._latent_shape(example))
        logged = torch.zeros(2 + 2 * QUARTERS, device=self.world.device)
        for number, example in enumerate(parts):
            torch.manual_seed(rng.key(self.seed, f"dropout {self.world.rank} {number}", step))
            loss, errors, t = self.losses(example, step, drop=True)
            share = len(example.positions) / self.training.batch
            (loss * share).backward()
            quarter = t * QUARTERS // self.model.schedule.steps
            logged[0] += loss.detach() * share
            logged[1] += errors.detach().mean() * share
            logged[2 : 2 + QUARTERS].index_add_(0, quarter, errors.detach())
            logged[2 + QUARTERS :].index_add_(0, quarter, torch.ones_like(errors))
        return self.update(step, logged, self._result)

    @staticmethod
    def _result(bad: Callable[[], list[str]], numbers: list[float]) -> StepResult:
        norm, loss, error, *quarters = numbers
        metrics = {"loss": loss, "error": error, "gradient_norm": norm}
        pairs = zip(quarters[:QUARTERS], quarters[QUARTERS:], strict=True)
        metrics |= {f"error_quarter_{q + 1}": s / n for q, (s, n) in enumerate(pairs) if n}
        finite = math.isfinite(norm) and math.isfinite(loss)
        return StepResult(metrics, finite, () if finite else bad())

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """Held-out and training loss at fixed samples, t and noise, with the averaged weights."""
        self.model.eval()
        result = {}
        with self.averaged():
            for split, data in (("held_out", self.held_out), ("train", self.data)):
                if data is None or not len(data):
                    continue
                count = min(len(data), 4 * self.training.batch, 256)
                total = 0.0
                for first in range(0, count, 32):
                    check_stop()
                    indices = range(first, min(first + 32, count))
                    examples = self.latents.fixed(data, indices, self.values, self.reads)
                    _, errors, _ = self.losses(examples, 0, "validation", places=indices)
                    total += float(errors.sum())
                result[f"{split}_error"] = total / count
        return result

    def warnings(self, metrics: Mapping[str, float], step: int) -> list[str]:
        """Overfitting, in plain words: held-out error is well above its best while training error still falls."""
        if "held_out_error" not in metrics or "train_error" not in metrics:
            return []
        for key in ("held_out_error", "train_error"):
            self.best[key] = min(self.best.get(key, float("inf")), metrics[key])
        risen = metrics["held_out_error"] > 1.1 * self.best["held_out_error"]
        if risen and metrics["train_error"] <= 1.01 * self.best["train_error"]:
            return [
                "overfitting: the held-out error has risen 10% above its best while the training error falls; "
                "stop earlier, add images or shrink the UNet"
            ]
        return []

    def preview(self, path: Path) -> None:
        """A fixed-seed grid of samples with the averaged weights."""
        if self.previewer is not None:
            with self.averaged():
                self.previewer(path)

    @property
    def evaluate_every(self) -> int | None:
        return self.training.evaluate.every if self.training.evaluate is not None and self.evaluator else None

    def evaluate(self, step: int) -> dict[str, float]:
        """Distances of samples with the averaged weights."""
        if self.evaluator is None:
            return {}
        with self.averaged():
            return self.evaluator()

    @property
    def score(self) -> Score | None:
        """Of the last evaluation."""
        return getattr(self.evaluator, "score", None)

    def modules(self) -> dict[str, nn.Module]:
        """The networks that it trains, by name."""
        return {"unet": self.model.unet, "conditioning": self.model.conditioners}

    def state(self) -> State:
        """Also the uncertainties, where they are learned, and the least errors so far."""
        saved = super().state()
        if self.log_variance.requires_grad:
            saved.tensors["objective"] = {"log_variance": self.log_variance.detach()}
        saved.values["best"] = self.best
        return saved

    def load(self, state: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        super().load(state, values)
        if self.log_variance.requires_grad:
            self.log_variance.data.copy_(state["objective"]["log_variance"])
        self.best = dict(values["best"])
