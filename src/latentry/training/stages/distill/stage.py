"""The distillation's step: both ends of a piece of a path are to lead to one clean latent (Geng et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from latentry import rng
from latentry.conditioning import Cond, reads_of, values_of
from latentry.data.dataset import ImageData
from latentry.data.sample import Example
from latentry.devices import autocast
from latentry.diffusion.consistency import CLEAN, angles, consistency_loss, gap, log_ratios, moved, nearer, times
from latentry.diffusion.process import q_sample, spread
from latentry.models.autoencoder import Autoencoder
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.training.loop.stage import StepResult, Unread
from latentry.training.loop.world import World
from latentry.training.recipe.distill import DistillSection, DistillTraining
from latentry.training.stages.distill.teacher import Teacher
from latentry.training.stages.latents import LatentCache
from latentry.training.stages.on_latents import LatentStage

NAME = "distill"
Distance = Callable[[], float]


class Draws(NamedTuple):
    """What is random in a step. t (B,); noise, posterior (B, c, h, w); keep: of each conditioner whether an image keeps
    it, (B,) bool."""

    t: Tensor
    noise: Tensor
    posterior: Tensor
    keep: dict[str, Tensor]


class DistillStage(LatentStage):
    """Trains a denoiser that begins with the weights of `teacher`.

    distances: by split, how far one step falls from the ends of the teacher's paths.
    """

    name = NAME
    headline = ("loss", "gap", "held_out_error")
    model: LatentDiffusion
    training: DistillTraining

    def __init__(
        self,
        model: LatentDiffusion,
        teacher: Teacher,
        autoencoder: Autoencoder,
        section: DistillSection,
        data: ImageData,
        caches: Mapping[str, LatentCache],
        *,
        seed: int,
        world: World,
        distances: Mapping[str, Distance] | None = None,
        previewer: Callable[[Path], None] | None = None,
    ) -> None:
        super().__init__(model, autoencoder, section.train, data, caches, seed=seed, world=world)
        self.teacher, self.section, self.distances, self.previewer = teacher, section, distances or {}, previewer
        self.angles, self.log_ratios = angles(model.schedule).to(world.device), log_ratios(model.schedule)
        conditioners = model.named_conditioners()
        self.values, self.reads = partial(values_of, conditioners, seed), reads_of(conditioners)

    def batches(self, start: int) -> Iterator[list[Example]]:
        """The parts of each step from `start` on."""
        return self.latents.batches(self.data, start, self.values, self.reads)

    def draw(self, places: Sequence[int], step: int, shape: tuple[int, ...]) -> Draws:
        """What is random in a step, for each place by itself."""
        rows = [rng.generator(self.seed, NAME, place, step) for place in places]
        drawn_ratios = torch.tensor([row.standard_normal() for row in rows], dtype=torch.float64)
        t = times(self.log_ratios, drawn_ratios, self.section.log_ratio_mean, self.section.log_ratio_deviation)
        noise, posterior = (
            torch.from_numpy(np.stack([row.standard_normal(shape, dtype=np.float32) for row in rows])) for _ in range(2)
        )
        together = torch.tensor([row.random() >= self.training.drop_all for row in rows])
        keep = {
            name: together & torch.tensor([row.random() >= self.training.drop(name) for row in rows])
            for name in self.model.conditioners
        }
        t, noise, posterior = (drawn.to(self.world.device) for drawn in (t, noise, posterior))
        return Draws(t, noise, posterior, {name: kept.to(self.world.device) for name, kept in keep.items()})

    def gap(self, step: int) -> float:
        """Between the two points, as a share of the path."""
        return gap(step, self.training.steps, self.section.halvings, self.section.hold)

    def ends(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The consistency function: x (B, c, h, w) at times t, int64 (B,) -> the clean end of its path."""
        with autocast(self.world.device, self.training.precision):
            out = self.model(x, t, cond)
        return self.model.prediction.x0(x, out.float(), *self.model.schedule.at(t))

    def losses(self, example: Example, step: int, dropout: int = 0) -> tuple[Tensor, Tensor]:
        """(loss, squared error a number), each (B,); every draw is fixed by place and step.

        dropout: the seed of what the networks drop, which is the same at both points.
        """
        assert example.moments is not None
        places = [position % self.training.batch for position in example.positions]
        d = self.draw(places, step, (self.autoencoder.latent_channels, *example.moments.shape[2:]))
        z, at = self.autoencoder.latent(example.moments, d.posterior), self.model.schedule.at
        x_t = q_sample(z, d.noise, *at(d.t))
        with autocast(self.world.device, self.training.precision):
            cond = self.model.dropped(example.values, d.keep)
        with torch.no_grad():
            with autocast(self.world.device, self.training.precision):
                x0 = self.teacher(x_t, d.t, example.values, d.keep)
            r = nearer(self.angles, d.t, self.gap(step))
            there = r.clamp(min=0)
            torch.manual_seed(dropout)
            target = self.ends(moved(x_t, x0, at(d.t), at(there)), there, cond)
            target = torch.where(spread(r == CLEAN, x0), x0, target)  # type: ignore[arg-type]
        torch.manual_seed(dropout)
        reached = self.ends(x_t, d.t, cond)
        squared = (reached - target).detach().square().flatten(1).mean(1)
        return consistency_loss(reached, target, at(d.t)[1], self.section.huber), squared

    def step(self, step: int, parts: list[Example]) -> StepResult | Unread:
        """One update of every weight."""
        self.model.train()
        self.updater.zero()
        logged = torch.zeros(2, device=self.world.device)
        for number, example in enumerate(parts):
            dropout = rng.key(self.seed, f"distill dropout {self.world.rank} {number}", step)
            losses, squared = self.losses(example, step, dropout)
            loss = losses.sum() / self.training.batch
            loss.backward()
            logged += torch.stack([loss.detach(), squared.sum() / self.training.batch])
        return self.update(step, logged, partial(self._result, self.gap(step)))

    @staticmethod
    def _result(apart: float, bad: Callable[[], list[str]], numbers: list[float]) -> StepResult:
        norm, loss, error = numbers
        finite = math.isfinite(norm) and math.isfinite(loss)
        metrics = {"loss": loss, "error": error, "gap": apart, "gradient_norm": norm}
        return StepResult(metrics, finite, () if finite else bad())

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """How far one step of the averaged weights falls from the ends of the teacher's paths, squared, a number."""
        self.model.eval()
        with self.averaged():
            return {f"{split}_error": distance() for split, distance in self.distances.items()}

    def preview(self, path: Path) -> None:
        """A fixed-seed grid of samples with the averaged weights, drawn as the distilled model will."""
        if self.previewer is not None:
            with self.averaged():
                self.previewer(path)

    def modules(self) -> dict[str, nn.Module]:
        """The networks that it trains, by name."""
        return {"unet": self.model.unet, "conditioning": self.model.conditioners}
