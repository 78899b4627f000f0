"""Randomness as a function: (seed, stream, position, step) always gives the same numbers, on every machine.

A counter-based generator (Philox) is keyed by seed and stream and started at a counter made of position and step, so a
draw depends on nothing that came before it: not on the order of work, workers, processes or a resume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def generator(seed: int, stream: str, position: int = 0, step: int = 0) -> np.random.Generator:
    """The generator of one place.

    seed: any integer. stream: what the numbers are for, e.g. "noise". position: place in the global batch or index of
    the image, >= 0. step: training or sampling step, >= 0.
    """
    digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    counter = np.array([0, 0, position, step], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def normal(seed: int, stream: str, positions: Sequence[int], step: int, shape: Sequence[int]) -> Tensor:
    """Standard normal fp32 numbers on the CPU, (len(positions), *shape); row i belongs to positions[i] alone."""
    rows = [generator(seed, stream, p, step).standard_normal(tuple(shape), dtype=np.float32) for p in positions]
    return torch.from_numpy(np.stack(rows))


def key(seed: int, stream: str, step: int) -> int:
    """A seed for a library's own generator, e.g. torch's for dropout inside networks."""
    return int(generator(seed, stream, 0, step).integers(2**63))
