"""The classifier's step: noise the latent, name its class (Dhariwal and Nichol 2021, section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from latentry import rng
from latentry.data.dataset import ImageData
from latentry.data.sample import Example, Sample
from latentry.devices import autocast, sent
from latentry.diffusion.process import q_sample
from latentry.diffusion.schedule import Schedule
from latentry.evaluation.noisy import BANDS, band_of, judged
from latentry.models.autoencoder import Autoencoder
from latentry.models.classifier import LatentClassifier
from latentry.training.loop.signals import check_stop
from latentry.training.loop.stage import State, StepResult, Unread
from latentry.training.loop.world import World
from latentry.training.recipe.classifier import ClassifierTraining
from latentry.training.stages.classifier.classes import NAME, numbers_of
from latentry.training.stages.latents import LatentCache
from latentry.training.stages.on_latents import LatentStage

CLASS = "class"
NOTHING: frozenset[str] = frozenset()
"""Fields of a sample that are read besides its image: the class stands in its record."""
JUDGED = 256  # images
RISEN = 1.1


class Losses(NamedTuple):
    """loss, right, t: each (B,)."""

    loss: Tensor
    right: Tensor
    t: Tensor


def _value(numbers: list[int], sample: Sample) -> dict[str, int]:
    return {CLASS: numbers[sample.index]}


class ClassifierStage(LatentStage):
    """Trains the classifier on noisy latents, at times drawn evenly from the schedule."""

    name = NAME
    headline = ("accuracy", "held_out_accuracy")
    model: LatentClassifier
    training: ClassifierTraining

    def __init__(
        self,
        model: LatentClassifier,
        autoencoder: Autoencoder,
        training: ClassifierTraining,
        schedule: Schedule,
        data: ImageData,
        held_out: ImageData | None,
        caches: Mapping[str, LatentCache],
        *,
        seed: int,
        world: World,
    ) -> None:
        super().__init__(model, autoencoder, training, data, caches, seed=seed, world=world)
        self.schedule, self.held_out = schedule, held_out
        self.values = {d.split: partial(_value, numbers_of(model.options, d)) for d in (data, held_out) if d}
        self.best = math.inf

    def batches(self, start: int) -> Iterator[list[Example]]:
        """The parts of each step from `start` on."""
        return self.latents.batches(self.data, start, self.values[self.data.split], NOTHING)

    def _latents(self, example: Example, places: Iterable[int], step: int, stream: str) -> tuple[Tensor, Tensor]:
        """Scaled latents (B, c, h, w), drawn from their posterior, and the numbers of their classes (B,)."""
        assert example.moments is not None
        shape = (self.autoencoder.latent_channels, *example.moments.shape[2:])
        posterior = None
        if self.autoencoder.options.kind == "kl":
            posterior = rng.normal(self.seed, f"{stream} posterior", list(places), step, shape)
            posterior = sent(posterior, self.world.device)
        numbers = sent(torch.tensor(example.values[CLASS]), self.world.device)
        return self.autoencoder.latent(example.moments, posterior), numbers

    def losses(self, example: Example, step: int) -> Losses:
        """Cross-entropy of each image at a time of its own; every draw is fixed by place and step."""
        places = [position % self.training.batch for position in example.positions]
        z, numbers = self._latents(example, places, step, "classifier")
        rows = [rng.generator(self.seed, "classifier", place, step) for place in places]
        t = sent(torch.tensor([int(row.integers(self.schedule.steps)) for row in rows]), z.device)
        z_t = q_sample(z, sent(rng.normal_of(rows, z.shape[1:]), z.device), *self.schedule.at(t))
        with autocast(self.world.device, self.training.precision):
            logits = self.model(z_t, t)
        loss = F.cross_entropy(logits.float(), numbers, reduction="none")  # (B,)
        return Losses(loss, logits.argmax(1) == numbers, t)

    def step(self, step: int, parts: list[Example]) -> StepResult | Unread:
        """One update of every weight."""
        self.model.train()
        self.updater.zero()
        logged = torch.zeros(1 + 2 * BANDS, device=self.world.device)  # loss; right and seen in each band
        for number, example in enumerate(parts):
            torch.manual_seed(rng.key(self.seed, f"classifier dropout {self.world.rank} {number}", step))
            losses = self.losses(example, step)
            loss = losses.loss.sum() / self.training.batch
            loss.backward()
            band = band_of(losses.t, self.schedule.steps)
            logged[0] += loss.detach()
            logged[1 : 1 + BANDS].index_add_(0, band, losses.right.float())
            logged[1 + BANDS :].index_add_(0, band, torch.ones_like(losses.loss))
        return self.update(step, logged, self._result)

    @staticmethod
    def _result(bad: Callable[[], list[str]], numbers: list[float]) -> StepResult:
        norm, loss, *counts = numbers
        right, seen = counts[:BANDS], counts[BANDS:]
        metrics = {"loss": loss, "accuracy": sum(right) / sum(seen), "gradient_norm": norm}
        metrics |= {f"accuracy_fifth_{b + 1}": r / n for b, (r, n) in enumerate(zip(right, seen, strict=True)) if n}
        finite = math.isfinite(norm) and math.isfinite(loss)
        return StepResult(metrics, finite, () if finite else bad())

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """Loss and accuracy, over all times and by fifths of them, at fixed samples, t and noise; averaged weights."""
        self.model.eval()
        result: dict[str, float] = {}
        with self.averaged():
            for split, data in (("held_out", self.held_out), ("train", self.data)):
                if data is None or not len(data):
                    continue
                right, loss = self._judged(data)
                result |= {f"{split}_loss": float(loss.mean()), f"{split}_accuracy": float(right.mean())}
                result |= {f"{split}_accuracy_fifth_{b + 1}": float(share) for b, share in enumerate(right.mean(0))}
        return result

    def _judged(self, data: ImageData) -> tuple[Tensor, Tensor]:
        """Right (0 or 1) and loss (N, BANDS) of the first images."""
        count, rights, losses = min(len(data), JUDGED), [], []
        for first in range(0, count, 32):
            check_stop()
            places = range(first, min(first + 32, count))
            example = self.latents.fixed(data, places, self.values[data.split], NOTHING)
            z, numbers = self._latents(example, places, 0, "classifier validation")
            found = judged(self.model, self.schedule, z, numbers, places, self.seed)
            rights.append(found.right.float())
            losses.append(found.loss)
        return torch.cat(rights), torch.cat(losses)

    def warnings(self, metrics: Mapping[str, float], step: int) -> list[str]:
        """Overfitting: a classifier that is sure of what is wrong guides to the wrong places."""
        if "held_out_loss" not in metrics:
            return []
        self.best = min(self.best, metrics["held_out_loss"])
        if metrics["held_out_loss"] > RISEN * self.best and metrics["train_loss"] < self.best:
            return [
                "overfitting: the held-out loss has risen 10% above its best while the training loss falls; "
                "stop earlier, add images, set dropout or make the classifier smaller"
            ]
        return []

    def state(self) -> State:
        """Also the least held-out loss so far."""
        saved = super().state()
        saved.values["best"] = self.best if math.isfinite(self.best) else None
        return saved

    def load(self, state: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        super().load(state, values)
        self.best = math.inf if values["best"] is None else values["best"]
