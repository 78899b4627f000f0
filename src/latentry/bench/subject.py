"""The model that is measured: what it is asked for, as sampling and training would ask it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from latentry import devices
from latentry.conditioning.class_label import ClassLabel
from latentry.conditioning.words.prompts import Prompts
from latentry.data.sample import Boxes, Sample
from latentry.diffusion.contracts import Step
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.models.modes import PLAIN, Mode
from latentry.models.modes.applying import apply_to_model
from latentry.pipeline import Pipeline
from latentry.pipeline.able import always_taken
from latentry.training.plan.recipes import Recipe

Size = tuple[int, int]
Network = TypeVar("Network", bound=nn.Module)
TEXT = "a picture"


@dataclass(frozen=True)
class Subject:
    """pipe: the model. recipe: by which it was trained, where that is known."""

    pipe: Pipeline
    recipe: Recipe | None = None

    @property
    def device(self) -> torch.device:
        return self.pipe.device

    @property
    def denoiser(self) -> LatentDiffusion:
        assert self.pipe.denoiser is not None
        return self.pipe.denoiser

    def wait(self) -> None:
        """Until the device has finished."""
        devices.synchronise(self.device)

    def conditions(self, size: Size) -> dict[str, Any]:
        """Words, else a class, else what the model always takes: with them guidance costs what it costs in use."""
        named = self.denoiser.named_conditioners()
        for kind, value in ((Prompts, TEXT), (ClassLabel, 0)):
            for name, conditioner in named.items():
                if isinstance(conditioner, kind):
                    return {name: value}
        alone = always_taken(self.pipe.model)
        if alone is None:
            return {}
        name, conditioner = alone
        return {name: [conditioner.value(self.noise(0, size), np.random.default_rng)]}

    def noise(self, number: int, size: Size) -> Sample:
        """An image of noise with all that a record may say of it."""
        draw, data = np.random.default_rng(number), self.pipe.config.data
        label = data.labels[0] if data.labels else "0"
        box = np.array([[0.1, 0.1, 0.6, 0.6]], np.float32)
        return Sample(
            number,
            number,
            pixels=draw.integers(0, 256, (*size, data.channels), np.uint8),
            caption=TEXT,
            label=label,
            boxes=Boxes(box, ("0",)),
            semantic=np.zeros(size, np.int64),
            mask=np.arange(size[1])[None].repeat(size[0], 0) < size[1] // 2,
        )

    def request(self, images: int, size: Size, **sampling: Any) -> dict[str, Any]:
        """Options of `generate` for so many images."""
        return {"n": images, "seed": 0, "size": size, **self.conditions(size), **sampling}

    def within(self, mode: Mode) -> Pipeline:
        """The model with networks of its own in a mode, on the same weights where the mode leaves them as they are."""
        denoiser = None if self.pipe.denoiser is None else copied(self.denoiser)
        names = {"classifier": self.pipe.classifier, "model_hash": self.pipe.model_hash, "source": self.pipe.source}
        pipe = Pipeline(self.pipe.config, copied(self.pipe.autoencoder), denoiser, mode=mode, **names)  # type: ignore[arg-type]
        for chosen in (PLAIN, mode):  # what was copied of another mode is not taken over
            apply_to_model(chosen, pipe.model)
        return pipe

    def step(self, batch: int, size: Size, mode: Mode) -> Callable[[], object]:
        """One evaluation at a time, as DDIM asks for them: under guidance both predictions, and its arithmetic."""
        walk = {"solver": "ddim", "levels": "trailing", "steps": self.denoiser.schedule.steps}
        asked, pipe = self.request(batch, size, **walk), self.within(mode)

        def walked() -> Iterator[Step]:
            while True:
                yield from pipe.steps(**asked)

        steps = walked()
        return lambda: next(steps)

    def decode(self, batch: int, size: Size, mode: Mode) -> Callable[[], Tensor]:
        """A batch of latents to images."""
        factor, first, pipe = self.pipe.autoencoder.factor, self.pipe.autoencoder, self.within(mode)
        z = torch.randn(batch, first.latent_channels, *(side // factor for side in size), device=self.device)
        return lambda: pipe.decode(z)

    def samples(self, batch: int, size: Size, mode: Mode, steps: int, images: int) -> Callable[[], Tensor]:
        """Images from noise, decoded; nothing is written."""
        asked, pipe = self.request(images, size, steps=steps), self.within(mode)
        return lambda: pipe.run("generate", batch=batch, **asked).tensor

    @cached_property
    def steps(self) -> int:
        """The model's own number of evaluations."""
        return self.pipe.config.sample.steps

    @property
    def size(self) -> Size:
        """(H, W) of the images that the model was trained on."""
        height, width = self.pipe.config.data.size
        return height, width


def copied(network: Network) -> Network:
    """Another network on the same weights: it may change what they lie like in memory, not what they are."""
    again = copy.deepcopy(network)
    for mine, own in zip((*again.parameters(), *again.buffers()), (*network.parameters(), *network.buffers())):
        mine.data = own.data
    return again
