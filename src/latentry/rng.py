"""Randomness as a function: (seed, stream, position, step) always gives the same numbers, on every machine.

A counter-based generator (Philox) is keyed by seed and stream and started at a counter made of position and step, so a
draw depends on nothing that came before it: not on the order of work, workers, processes or a resume.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

THREADS = max(1, (os.cpu_count() or 1) // 4)
"""That draw beside a training: the other cores load images, and compute where there is no other device."""
MANY = 2**18
"""Numbers that are worth starting threads for."""


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
    return normal_of([generator(seed, stream, p, step) for p in positions], shape)


def normal_of(rows: Sequence[np.random.Generator], shape: Sequence[int]) -> Tensor:
    """The next standard normal fp32 numbers of each generator, (len(rows), *shape) on the CPU.

    Many are drawn in several threads, where there are cores to spare; which thread draws a row changes nothing in it.
    """
    result = torch.empty((len(rows), *shape))

    def fill(row: np.random.Generator, out: Tensor) -> None:
        row.standard_normal(out=out.numpy(), dtype=np.float32)

    threads = min(THREADS, len(rows)) if result.numel() >= MANY else 1
    if threads < 2:
        for row, out in zip(rows, result, strict=True):
            fill(row, out)
        return result
    with ThreadPoolExecutor(threads) as pool:
        deque(pool.map(fill, rows, result), 0)
    return result


def key(seed: int, stream: str, step: int) -> int:
    """A seed for a library's own generator, e.g. torch's for dropout inside networks."""
    return int(generator(seed, stream, 0, step).integers(2**63))
