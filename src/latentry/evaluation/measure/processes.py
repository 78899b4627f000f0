"""Several processes that measure together, as torchrun starts them: each takes every n-th part of the images."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed as dist

from latentry import devices

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among `size`. Rank 0 alone reads the cache, writes and says something."""

    rank: int = 0
    size: int = 1

    @property
    def chief(self) -> bool:
        return self.rank == 0

    def share(self, count: int, part: int) -> Iterator[range]:
        """The numbers below `count` that are this process's: parts of so many, the last one shorter."""
        for first in range(self.rank * part, count, self.size * part):
            yield range(first, min(first + part, count))

    def gathered(self, value: T) -> list[T]:
        """What each process has, by rank, in all of them."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def told(self, value: T) -> T:
        """What the chief has, in all of them."""
        if self.size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values)
        return values[0]


ALONE = Processes()


def join(device: str | torch.device = devices.AUTO) -> tuple[Processes, torch.device]:
    """The processes that torchrun started, by its environment, and the device of this one: of several GPUs its own."""
    chosen, size = devices.choose(device), int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE, chosen
    if not dist.is_initialized():
        dist.init_process_group("gloo")  # statistics are small, and gathered on the CPU
        atexit.register(_leave)
    if chosen.type == "cuda" and chosen.index is None:
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return Processes(dist.get_rank(), size), chosen


def _leave() -> None:
    """An open group warns when its process ends."""
    if dist.is_initialized():
        dist.destroy_process_group()
