"""What the stages on latents share: one optimiser, averaged weights, what is saved, and whose data was not finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from latentry.data.dataset import ImageData
from latentry.data.sample import Example
from latentry.models.autoencoder import Autoencoder
from latentry.training.loop.ema import EMA
from latentry.training.loop.optimiser import Updater
from latentry.training.loop.stage import Stage, State, StepResult, Unread, result_of, weights_of
from latentry.training.loop.world import World
from latentry.training.recipe.training import StageTraining
from latentry.training.stages.examples import LatentExamples
from latentry.training.stages.latents import LatentCache
from latentry.training.stages.named import damaged_paths, paths_of

Finish = Callable[[Callable[[], list[str]], list[float]], StepResult]
"""(names the weights whose gradients are not finite, (norm of the gradient, what was logged)) -> the result."""


class LatentStage(Stage):
    """Trains `model` by one optimiser on latents of `autoencoder`, which stays as it is.

    extra: weights that are trained with the model's, outside of it; they are not averaged.
    """

    def __init__(
        self,
        model: nn.Module,
        autoencoder: Autoencoder,
        training: StageTraining,
        data: ImageData,
        caches: Mapping[str, LatentCache],
        *,
        seed: int,
        world: World,
        extra: Mapping[str, nn.Parameter] | None = None,
    ) -> None:
        self.model, self.autoencoder, self.training = model, autoencoder, training
        self.data, self.seed, self.world = data, seed, world
        self.latents = LatentExamples(autoencoder, training, world, caches)
        weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.updater = Updater({**weights, **(extra or {})}, training, training.rate(), world)
        self.ema = EMA(weights, training.ema) if training.ema else None

    def update(self, step: int, logged: Tensor, finish: Finish) -> StepResult | Unread:
        """Apply the gradients of all processes, unless they or the loss, `logged[0]`, are not finite.

        logged: (N,), numbers of this process's parts, which are summed over processes.
        """
        total, norm = self.world.sum_(logged), self.updater.reduce()
        finite = norm.isfinite() & total[0].isfinite()
        self.updater.step(step, norm, finite)
        if self.ema:
            self.ema.update(finite)
        return result_of(torch.cat([norm[None], total]), partial(finish, self.updater.bad_gradients()))

    def averaged(self) -> AbstractContextManager[Any]:
        """The averaged weights in place of the trained ones, where there are any."""
        return self.ema.applied() if self.ema else nullcontext()

    def updaters(self) -> dict[str, Updater]:
        """Its one optimiser."""
        return {"": self.updater}

    def files(self, step: int) -> list[str]:
        """Paths of the batch."""
        return paths_of(self.data, step, self.training.batch)

    def damaged(self, parts: list[Example]) -> list[str]:
        """Paths of images whose latents are not finite."""
        return damaged_paths(self.data, parts)

    def state(self) -> State:
        """Weights, optimiser, averages."""
        tensors = {"model": weights_of(self.model), "optimiser": self.updater.state()}
        return State(tensors | ({"ema": self.ema.state()} if self.ema else {}))

    def load(self, state: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.updater.load(state["optimiser"])
        if self.ema:
            self.ema.load(state["ema"])
