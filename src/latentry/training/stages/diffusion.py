"""The second stage's step: noise the latent, predict, compare (Rombach et al. 2022, equations 2 and 3)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from latentry import rng
from latentry.data.dataset import ImageData, Pick
from latentry.data.loader import batches
from latentry.data.sample import Example, Sample
from latentry.diffusion.objective import Objective
from latentry.models.autoencoder import Autoencoder
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.training.loop.ema import EMA
from latentry.training.loop.optimiser import Updater
from latentry.training.loop.signals import check_stop
from latentry.training.loop.stage import State, StepResult, amp, weights_of
from latentry.training.loop.world import World
from latentry.training.plan.recipe import DiffusionSection
from latentry.training.stages.latents import LatentCache
from latentry.training.stages.values import values_of

QUARTERS = 4


class LatentBatch(NamedTuple):
    """moments (B, c or 2c, h, w); values: for each conditioner B values; places in the global batch."""

    moments: Tensor
    values: dict[str, list[Any]]
    places: range


class Draws(NamedTuple):
    """t (B,); noise, posterior (B, c, h, w); to be compared with probabilities of dropping: chances of each conditioner
    (conditioners, B), chance of all (B,)."""

    t: Tensor
    noise: Tensor
    posterior: Tensor
    chances: Tensor
    chance_all: Tensor


class DiffusionStage:
    """Trains `model` on the latents of `autoencoder`, which stays as it is."""

    name = "diffusion"

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
    ) -> None:
        self.model, self.autoencoder, self.section, self.training = model, autoencoder, section, section.train
        self.data, self.held_out, self.caches = data, held_out, caches
        self.seed, self.world, self.previewer = seed, world, previewer
        self.objective = Objective(section.objective, model.schedule, section.prediction).to(world.device)
        learned = section.objective.learn_log_variance
        self.log_variance = nn.Parameter(self.objective.initial_log_variance().to(world.device), requires_grad=learned)
        weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        extra = {"log_variance": self.log_variance} if learned else {}
        self.updater = Updater({**weights, **extra}, self.training, self.training.rate(), world)
        self.ema = EMA(weights, self.training.ema) if self.training.ema else None
        self.drop = {name: self.training.drop(name) for name in model.conditioners}
        self.best: dict[str, float] = {}

    def batches(self, start: int) -> Iterator[list[LatentBatch]]:
        """The parts of each step from `start` on."""
        t = self.training
        shares = [self.world.share(t.batch, t.accumulate, number) for number in range(t.accumulate)]
        if self.data.split in self.caches:
            for step in itertools.count(start):
                drawn = [[self.data.pick(step * t.batch + i) for i in share] for share in shares]
                yield [self.fetch(self.data, d, share) for d, share in zip(drawn, shares, strict=True)]

        def positions(part: int) -> list[int]:
            step, number = divmod(part, t.accumulate)
            return [step * t.batch + place for place in shares[number]]

        first = start * t.accumulate
        source = batches(self.data, first, positions_of=positions, workers=t.workers, values=self._sample_values)
        while True:
            yield [self._encode(next(source), share) for share in shares]

    @torch.no_grad()
    def _encode(self, batch: Example, places: range) -> LatentBatch:
        """Moments of images encoded now, as the loader brings them."""
        assert batch.image is not None
        moments = self.autoencoder.moments(batch.image.to(self.world.device)).float()
        return LatentBatch(moments, batch.values, places)

    def _sample_values(self, sample: Sample) -> dict[str, Any]:
        caption = self.data.pick(sample.position).caption
        return {name: values[0] for name, values in self._values(self.data, [sample.index], [caption]).items()}

    @torch.no_grad()
    def fetch(self, data: ImageData, drawn: list[Pick], places: range) -> LatentBatch:
        """Moments, from the cache or encoded now, and what each conditioner is given."""
        if data.split in self.caches:
            cache = self.caches[data.split]
            moments = cache([p.index for p in drawn], [p.flip for p in drawn])
            indices = [int(cache.used[p.index]) for p in drawn]
        else:
            samples = [data.load(p) for p in drawn]
            moments = self.autoencoder.moments(torch.stack([s.image for s in samples]).to(self.world.device)).float()
            indices = [s.index for s in samples]
        values = self._values(data, indices, [p.caption for p in drawn])
        return LatentBatch(moments.to(self.world.device), values, places)

    def _values(self, data: ImageData, indices: list[int], picks: list[float]) -> dict[str, list[Any]]:
        return {n: values_of(o, data, indices, picks) for n, o in self.model.options.conditioning.items()}

    def draw(self, stream: str, places: Iterable[int], step: int, shape: tuple[int, ...]) -> Draws:
        """What is random in a step, for each place by itself."""
        rows = [rng.generator(self.seed, stream, place, step) for place in places]
        t = torch.tensor([int(row.integers(self.model.schedule.steps)) for row in rows])
        chances = torch.tensor([[row.random() for _ in self.model.conditioners] for row in rows])
        noise, posterior = (
            torch.from_numpy(np.stack([row.standard_normal(shape, dtype=np.float32) for row in rows])) for _ in range(2)
        )
        together = torch.tensor([row.random() for row in rows])
        return Draws(*(drawn.to(self.world.device) for drawn in (t, noise, posterior, chances.T, together)))

    def kept(self, draws: Draws) -> dict[str, Tensor]:
        """For each conditioner whether an image keeps it in training, (B,) bool."""
        all_kept = draws.chance_all >= self.training.drop_all
        return {
            name: (chance >= self.drop[name]) & all_kept for name, chance in zip(self.drop, draws.chances, strict=True)
        }

    def losses(
        self, batch: LatentBatch, step: int, stream: str = "train", drop: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(loss to minimise, plain error a sample (B,), t (B,)); every draw is fixed by stream, place and step."""
        shape = (self.autoencoder.latent_channels, *batch.moments.shape[2:])
        draws = self.draw(stream, batch.places, step, shape)
        t, noise = draws.t, draws.noise
        z = self.autoencoder.latent(batch.moments, draws.posterior)
        alpha, sigma = (v.view(-1, 1, 1, 1) for v in self.model.schedule.at(t))
        with amp(self.world.device, self.training.precision):
            if drop:
                cond = self.model.dropped(batch.values, self.kept(draws))
            else:
                cond = self.model.condition(batch.values, len(t))
            out = self.model(alpha * z + sigma * noise, t, cond)
        target = self.model.prediction.target(z, noise, alpha, sigma)
        loss = self.objective(out, target, t, self.log_variance)
        return loss.total, loss.simple, t

    def step(self, step: int, parts: list[LatentBatch]) -> StepResult:
        """One update of every weight."""
        self.model.train()
        self.updater.zero()
        logged = torch.zeros(2 + 2 * QUARTERS, device=self.world.device)
        for number, batch in enumerate(parts):
            torch.manual_seed(rng.key(self.seed, f"dropout {self.world.rank} {number}", step))
            loss, errors, t = self.losses(batch, step, drop=True)
            share = len(batch.places) / self.training.batch
            (loss * share).backward()
            quarter = t * QUARTERS // self.model.schedule.steps
            logged[0] += loss.detach() * share
            logged[1] += errors.detach().mean() * share
            logged[2 : 2 + QUARTERS].index_add_(0, quarter, errors.detach())
            logged[2 + QUARTERS :].index_add_(0, quarter, torch.ones_like(errors))
        numbers = self.world.sum_(logged).tolist()
        norm = float(self.updater.reduce())
        metrics = {"loss": numbers[0], "error": numbers[1], "gradient_norm": norm}
        sums, counts = numbers[2 : 2 + QUARTERS], numbers[2 + QUARTERS :]
        metrics |= {f"error_quarter_{q + 1}": s / n for q, (s, n) in enumerate(zip(sums, counts, strict=True)) if n}
        finite = math.isfinite(norm) and math.isfinite(numbers[0])
        if finite:
            self.updater.step(step, norm)
            if self.ema:
                self.ema.update()
        return StepResult(metrics, finite)

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """Held-out and training loss at fixed samples, t and noise, with the averaged weights."""
        self.model.eval()
        result = {}
        with self.ema.applied() if self.ema else nullcontext():
            for split, data in (("held_out", self.held_out), ("train", self.data)):
                if data is None or not len(data):
                    continue
                count = min(len(data), 4 * self.training.batch, 256)
                total = 0.0
                for first in range(0, count, 32):
                    check_stop()
                    places = range(first, min(first + 32, count))
                    _, errors, _ = self.losses(
                        self.fetch(data, [Pick(i, i) for i in places], places), 0, stream="validation"
                    )
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
            with self.ema.applied() if self.ema else nullcontext():
                self.previewer(path)

    def state(self) -> State:
        """Weights, averages, optimiser."""
        tensors = {"model": weights_of(self.model), "optimiser": self.updater.state()}
        if self.ema:
            tensors["ema"] = self.ema.state()
        if self.log_variance.requires_grad:
            tensors["objective"] = {"log_variance": self.log_variance.detach()}
        return State(tensors, {"best": self.best})

    def load(self, state: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.model.load_state_dict(state["model"])
        if self.log_variance.requires_grad:
            self.log_variance.data.copy_(state["objective"]["log_variance"])
        self.updater.load(state["optimiser"])
        if self.ema:
            self.ema.load(state["ema"])
        self.best = dict(values["best"])
