"""Latents for the second stage: moments of every image, encoded once and kept on disk."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentry.checkpoints import durable
from latentry.data.dataset import ImageData, Pick
from latentry.data.loader import IMAGE, Values, samples, valued
from latentry.data.sample import Example, Sample
from latentry.models.autoencoder import Autoencoder
from latentry.training.loop.waiting import Waiting
from latentry.training.loop.world import World
from latentry.training.stages.ahead import Ahead

ENCODE_BATCH = 16
BESIDE_IMAGES = {"boxes", "semantic", "mask", "arrays"}
"""Options of the data that latents do not depend on."""
WITHOUT_FILES = frozenset({"caption", "label"})
"""What is read of a sample without opening one."""


@torch.no_grad()
def encode(autoencoder: Autoencoder, samples: Sequence[Sample], flip: bool = False) -> Tensor:
    """Moments (B, c or 2c, h, w), on the CPU, of images or, encoded for themselves, of their mirror images."""
    images = torch.stack([sample.image for sample in samples])
    device = autoencoder.latent_scale.device
    return autoencoder.moments((images.flip(-1) if flip else images).to(device)).float().cpu()


def read(data: ImageData, indices: Sequence[int], workers: int) -> Iterator[tuple[list[int], list[Sample]]]:
    """Images as they are, a few at a time, with the indices that were wanted."""
    groups = [list(indices[first : first + ENCODE_BATCH]) for first in range(0, len(indices), ENCODE_BATCH)]
    picks = ([Pick(index, index) for index in group] for group in groups)
    yield from zip(groups, samples(data, picks, workers))


def _named(group: Sequence[Pick | Sample]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Indices and flips: the arguments of `LatentCache.__call__`."""
    return tuple(one.index for one in group), tuple(one.flip for one in group)


def _create(path: Path, kind: type[np.generic], shape: tuple[int, ...]) -> None:
    """An array on disk with its space taken: writing to a mapped file on a full disk would kill the process."""
    np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape).flush()
    durable.allocate(path)


class LatentCache:
    """Moments of image i at [i, flipped], memory-mapped from `root/KEY/moments.npy`.

    used[i]: the image really encoded there, another one where image i could not be read.

    The key holds the first stage's weights and the data's fingerprint, so a cache is never used for other ones.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        data: ImageData,
        fingerprint: str,
        root: Path,
        world: World,
        report: Callable[[str], None],
        workers: int = 0,
    ) -> None:
        self.folder = root / self._key(autoencoder, data, fingerprint)
        if world.any(not (self.folder / "complete").exists()):
            self._fill(autoencoder, data, world, report, workers)
        self.moments = np.load(self.folder / "moments.npy", mmap_mode="r")
        self.used = np.load(self.folder / "used.npy")

    @staticmethod
    def _key(autoencoder: Autoencoder, data: ImageData, fingerprint: str) -> str:
        images_alone = data.options.model_dump_json(exclude=BESIDE_IMAGES)
        digest = hashlib.blake2b(f"{fingerprint}/{data.split}/{images_alone}".encode(), digest_size=12)
        for name, tensor in autoencoder.state_dict().items():
            if not name.startswith("latent_"):
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return f"{data.split}-{digest.hexdigest()}"

    def _fill(
        self, autoencoder: Autoencoder, data: ImageData, world: World, report: Callable[[str], None], workers: int
    ) -> None:
        flips = 2 if data.options.flip else 1
        shape = encode(autoencoder, [data.sample(0, IMAGE)]).shape[1:]
        path = self.folder / "moments.npy"
        if world.chief:
            for old in self.folder.parent.glob(f"{data.split}-*"):
                shutil.rmtree(old, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            report(f"latents: encoding {len(data)} {data.split} images once")
            _create(path, np.float32, (len(data), flips, *shape))
            _create(self.folder / "used.npy", np.int64, (len(data),))
        world.barrier()
        array = np.lib.format.open_memmap(path, mode="r+")
        used = np.lib.format.open_memmap(self.folder / "used.npy", mode="r+")
        indices = list(range(len(data)))[world.rank :: world.size]
        with Waiting(report, "latents") as waiting:
            for part, group in read(data, indices, workers):
                used[part] = [sample.index for sample in group]
                for flip in range(flips):
                    array[part, flip] = encode(autoencoder, group, bool(flip)).numpy()
                done = min((part[-1] + 1) * 100 // len(data), 100)
                waiting.doing(f"{done}% of the {data.split} images are encoded", still=True)
        array.flush()
        used.flush()
        world.barrier()
        if world.chief:
            (self.folder / "complete").touch()
        world.barrier()

    def examples(
        self, data: ImageData, picks: Iterable[Sequence[Pick]], values: Values, reads: frozenset[str], workers: int = 0
    ) -> Iterator[Example]:
        """The examples of groups of picks, as the loader gives them, but with moments for the images.

        values, reads: as of `loader.batches`. workers: read ahead what is read of files; of images that were bad their
        stand-ins are read.
        """
        really = ([replace(pick, index=int(self.used[pick.index])) for pick in group] for group in picks)
        wanted, coming = itertools.tee(really)
        next(coming, None)
        ahead = Ahead(self)
        for group, rows in valued(data, wanted, values, reads, 0 if reads <= WITHOUT_FILES else workers):
            moments = ahead(*_named(group))
            if following := next(coming, None):
                ahead.foresee(*_named(following))
            yield Example(None, moments, rows, [sample.position for sample in group])

    def __call__(self, indices: Sequence[int], flips: Sequence[bool]) -> Tensor:
        """Moments (B, c or 2c, h, w) of these images."""
        return torch.from_numpy(np.stack([self.moments[i, int(f)] for i, f in zip(indices, flips, strict=True)]))
