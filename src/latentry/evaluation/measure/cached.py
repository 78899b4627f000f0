"""Statistics of reference images, kept by what they are of: equal images in equal features are never read again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from latentry.checkpoints import tensors
from latentry.checkpoints.manifest import publishing, verify
from latentry.errors import LatentryError
from latentry.metrics.features import Features
from latentry.metrics.statistics import Statistics
from latentry.nn.weights import cache

FORMAT = 1
FILE = "statistics.safetensors"
SPARE = 1 << 16


def place(images: str, features: Features, most: int, seed: int) -> Path:
    """The folder in the cache ($XDG_CACHE_HOME or ~/.cache, `latentry/statistics`) of these statistics.

    images: the digest of the images and of how they are read. most, seed: which vectors are kept.
    """
    of = (FORMAT, images, features.kind, features.digest, features.preprocessing, most, seed)
    return cache() / "statistics" / hashlib.blake2b(repr(of).encode(), digest_size=16).hexdigest()


def kept(folder: Path, seed: int) -> Statistics | None:
    """What `keep` left there; None where there is nothing, or it is damaged and is to be made again."""
    if not folder.is_dir() or verify(folder):
        return None
    with suppress(LatentryError, KeyError, RuntimeError, ValueError):
        return Statistics.from_state(tensors.read(folder / FILE), seed=seed)
    return None


def keep(folder: Path, statistics: Statistics) -> None:
    """Write them whole or not at all; a cache that cannot be written is none."""
    state: Mapping[str, Tensor] = statistics.state()
    with suppress(LatentryError, OSError), publishing(folder, tensors.size(state) + SPARE) as fresh:
        tensors.write(fresh / FILE, state)
