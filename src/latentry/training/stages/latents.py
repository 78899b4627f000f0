"""Latents for the second stage: moments of every image, encoded once and kept on disk."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentry.checkpoints import durable
from latentry.data.dataset import ImageData
from latentry.models.autoencoder import Autoencoder
from latentry.training.loop.world import World

ENCODE_BATCH = 16


@torch.no_grad()
def encode(
    autoencoder: Autoencoder, data: ImageData, indices: list[int], flip: bool = False
) -> tuple[Tensor, list[int]]:
    """Moments (B, c or 2c, h, w) of unaugmented images, and which were used; a flipped image is encoded for itself."""
    samples = [data.sample(i) for i in indices]
    images = torch.stack([s.image for s in samples])
    device = autoencoder.latent_scale.device
    return autoencoder.moments((images.flip(-1) if flip else images).to(device)).float().cpu(), [
        s.index for s in samples
    ]


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
    ) -> None:
        self.folder = root / self._key(autoencoder, data, fingerprint)
        if world.any(not (self.folder / "complete").exists()):
            self._fill(autoencoder, data, world, report)
        self.moments = np.load(self.folder / "moments.npy", mmap_mode="r")
        self.used = np.load(self.folder / "used.npy")

    @staticmethod
    def _key(autoencoder: Autoencoder, data: ImageData, fingerprint: str) -> str:
        digest = hashlib.blake2b(
            f"{fingerprint}/{data.split}/{data.options.model_dump_json()}".encode(), digest_size=12
        )
        for name, tensor in autoencoder.state_dict().items():
            if not name.startswith("latent_"):
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return f"{data.split}-{digest.hexdigest()}"

    def _fill(self, autoencoder: Autoencoder, data: ImageData, world: World, report: Callable[[str], None]) -> None:
        flips = 2 if data.options.flip else 1
        shape = encode(autoencoder, data, [0])[0].shape[1:]
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
        for first in range(0, len(indices), ENCODE_BATCH):
            part = indices[first : first + ENCODE_BATCH]
            for flip in range(flips):
                moments, used[part] = encode(autoencoder, data, part, bool(flip))
                array[part, flip] = moments.numpy()
        array.flush()
        used.flush()
        world.barrier()
        if world.chief:
            (self.folder / "complete").touch()
        world.barrier()

    def __call__(self, indices: list[int], flips: list[bool]) -> Tensor:
        """Moments (B, c or 2c, h, w) of these images."""
        return torch.from_numpy(np.stack([self.moments[i, int(f)] for i, f in zip(indices, flips, strict=True)]))
