"""Images that a model makes, by number: samples, what its task gives of real images, reconstructions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from latentry import devices, rng
from latentry.conditioning import Conditioner, reads_of
from latentry.conditioning.image import Image
from latentry.conditioning.masked import Masked
from latentry.data.dataset import ImageData
from latentry.data.degrade import shrunk
from latentry.evaluation.figures import condition_values
from latentry.evaluation.images.sets import ImageSet
from latentry.pipeline import Pipeline
from latentry.pipeline.images import to_unit
from latentry.tasks.inputs.filling import REACH, pasted
from latentry.tasks.inputs.match import matched
from latentry.tasks.inputs.window import whole
from latentry.tasks.upscale import low_resolution

BATCH = 16
Values = dict[str, list[Any]]


def from_images(pipe: Pipeline) -> list[str]:
    """The conditions that are made of the image itself, as one of low resolution or with a hole is."""
    conditioners = {} if pipe.denoiser is None else pipe.denoiser.named_conditioners()
    return [name for name, conditioner in conditioners.items() if "image" in conditioner.reads]


class Samples:
    """Samples of a model, image i with seed + i under the conditions of a drawn image of `data`.

    how: steps, guidance, ..., where they are not the model's own. gauge: whether the most memory that a batch takes is
    measured (GiB, `peak`). seconds, drawn: spent on how many, in this process.
    """

    def __init__(
        self,
        pipe: Pipeline,
        data: ImageData,
        seed: int,
        batch: int = BATCH,
        how: Mapping[str, Any] | None = None,
        *,
        gauge: bool = True,
    ) -> None:
        self.gauge = gauge
        self.pipe, self.data, self.seed, self.batch, self.how = pipe, data, seed, batch, dict(how or {})
        self.seconds, self.drawn = 0.0, 0
        self.peak: float | None = None

    def __call__(self, numbers: range) -> Iterator[Tensor]:
        for first in range(numbers.start, numbers.stop, self.batch):
            rows = range(first, min(first + self.batch, numbers.stop))
            yield self.sampled(rows, self.values([self.image_of(number) for number in rows]))

    def one(self, number: int) -> Tensor:
        """A sample by itself, (C, H, W)."""
        return next(self(range(number, number + 1)))[0]

    def image_of(self, number: int) -> int:
        """The image whose conditions sample `number` is drawn under: each as often as any other."""
        turn, place = divmod(number, len(self.data))
        if self._turn != turn:
            draw = rng.generator(self.seed, "evaluated conditions", turn)
            self._turn, self._order = turn, draw.permutation(len(self.data))
        return int(self._order[place])

    _turn = -1
    _order: Any = ()

    def values(self, indices: Sequence[int]) -> Values:
        """What conditions are asked with for these images."""
        denoiser = self.pipe.denoiser
        assert denoiser is not None
        if not reads_of(denoiser.named_conditioners()):
            return {}
        return condition_values(denoiser, self.data, indices, self.seed)

    def sampled(self, rows: range, values: Values) -> Tensor:
        """Images (B, C, H, W) in [0, 1]."""
        first, begun = self.drawn == 0 and self.gauge, time.perf_counter()
        if first:
            devices.forget_peak(self.pipe.device)
        many = {"n": 1, **values} if values else {"n": len(rows)}
        images = self.pipe.sample(seed=self.seed + rows.start, batch=self.batch, **many, **self.how).tensor
        self.seconds, self.drawn = self.seconds + time.perf_counter() - begun, self.drawn + len(rows)
        if first:
            self.peak = devices.peak(self.pipe.device)
        return images

    @property
    def rate(self) -> float:
        """Samples a second of this process, 0 before the first."""
        return self.drawn / self.seconds if self.seconds else 0.0


class TaskResults(Samples):
    """What super-resolution, inpainting and the like give of the images of `data`.

    The images themselves are given to `pairs` by number, to compare with.
    """

    def pairs(self, real: ImageSet, numbers: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and what the task made of them, both (b, C, H, W) in [0, 1]."""
        for first in range(numbers.start, numbers.stop, self.batch):
            rows = range(first, min(first + self.batch, numbers.stop))
            images = {number: image for number in rows if (image := real.one(number)) is not None}
            if images:
                values = self.values([real.index(number) for number in images])
                drawn = self.sampled(range(first, first + len(images)), values)
                yield torch.stack([*images.values()]), self.finished(drawn, values)

    def values(self, indices: Sequence[int]) -> Values:
        """As of samples; a low-resolution image of a model that does not say how it is made is shrunk bicubically."""
        values = super().values(indices)
        for name, conditioner in self._conditioners().items():
            if isinstance(conditioner, Image) and conditioner.options.factor is None:
                factor = low_resolution(self.pipe.model).factor
                values[name] = [shrunk(image, factor) for image in values[name]]
        return values

    def finished(self, drawn: Tensor, values: Values) -> Tensor:
        """As the task leaves them: matched with the small image, known pixels as they were; in [0, 1]."""
        images = drawn * 2 - 1
        for name, conditioner in self._conditioners().items():
            if isinstance(conditioner, Image) and low_resolution(self.pipe.model).fixed:
                small = [torch.as_tensor(one) for one in values[name]]
                images = matched(images, small, low_resolution(self.pipe.model).factor)
            elif isinstance(conditioner, Masked):
                images = torch.stack([self._filled(*pair) for pair in zip(images, values[name], strict=True)])
        return to_unit(images)

    def _filled(self, drawn: Tensor, given: Any) -> Tensor:
        """The hole of (C, H, W) from what was drawn, all else from what was given."""
        known, hole = torch.as_tensor(given[0]), torch.as_tensor(given[1])[0] > 0
        if not hole.any():
            return known
        reach = float(REACH * self.pipe.autoencoder.factor)
        height, width = hole.shape
        return pasted(known, hole, whole((height, width), 1), drawn[None], reach=reach)[0]

    def _conditioners(self) -> Mapping[str, Conditioner]:
        return {} if self.pipe.denoiser is None else self.pipe.denoiser.named_conditioners()


def reconstructions(pipe: Pipeline, real: ImageSet, numbers: range) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and what the first stage makes of them, both (b, C, H, W) in [0, 1]."""
    for images in real(numbers):
        yield images, to_unit(pipe.decode(pipe.encode(images * 2 - 1)))
