"""What the stages behind the first one are trained on: latents of images, cached or encoded as they are read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import torch

from latentry.data.dataset import ImageData, Pick
from latentry.data.loader import IMAGE, Values, batches
from latentry.data.sample import Example, joined
from latentry.models.autoencoder import Autoencoder
from latentry.training.loop.world import World
from latentry.training.plan.plan import Plan
from latentry.training.recipe.training import StageTraining
from latentry.training.stages.latents import LatentCache


def caches_of(plan: Plan, autoencoder: Autoencoder, workers: int) -> dict[str, LatentCache]:
    """The cached latents of each split; encoded now where they are not there yet."""
    fingerprint, folder = plan.images.listing.fingerprint, plan.out / "latents"
    return {
        data.split: LatentCache(autoencoder, data, fingerprint, folder, plan.world, plan.report, workers)
        for data in filter(None, (plan.data, plan.held_out))
    }


class LatentExamples:
    """Examples with moments on the device. caches: by split; images of others are encoded.

    `values` and `reads` of its methods are those of `loader.batches`.
    """

    def __init__(
        self, autoencoder: Autoencoder, training: StageTraining, world: World, caches: Mapping[str, LatentCache]
    ) -> None:
        self.autoencoder, self.training, self.world, self.caches = autoencoder, training, world, caches

    def batches(self, data: ImageData, start: int, values: Values, reads: frozenset[str]) -> Iterator[list[Example]]:
        """The parts of each step from `start` on."""
        t = self.training
        shares = [self.world.share(t.batch, t.accumulate, number) for number in range(t.accumulate)]

        def positions(part: int) -> list[int]:
            step, number = divmod(part, t.accumulate)
            return [step * t.batch + place for place in shares[number]]

        first = start * t.accumulate
        if data.split in self.caches:
            picks = ([data.pick(position) for position in positions(part)] for part in itertools.count(first))
            source = self.caches[data.split].examples(data, picks, values, reads, t.workers)
        else:
            pin = self.world.device.type == "cuda"
            source = batches(
                data, first, positions_of=positions, workers=t.workers, pin=pin, values=values, reads=reads
            )
        while True:
            yield [self._on_device(next(source)) for _ in shares]

    def fixed(self, data: ImageData, indices: Sequence[int], values: Values, reads: frozenset[str]) -> Example:
        """Images as they are, each at its own index."""
        picks = [Pick(index, index) for index in indices]
        if data.split in self.caches:
            return self._on_device(next(self.caches[data.split].examples(data, [picks], values, reads)))
        samples = [data.load(pick, reads | IMAGE) for pick in picks]
        rows = joined([values(sample) for sample in samples])
        return self._on_device(Example(torch.stack([s.image for s in samples]), None, rows, list(indices)))

    @torch.no_grad()
    def _on_device(self, example: Example) -> Example:
        """With moments where the model is; they are encoded now if only the images are there."""
        if example.moments is not None:
            return example._replace(moments=example.moments.to(self.world.device, non_blocking=True))
        assert example.image is not None
        images = example.image.to(self.world.device, non_blocking=True)
        return example._replace(image=None, moments=self.autoencoder.moments(images).float())
