"""The processes of a run: which one this is, and sums over all of them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process among `size`. Rank 0 alone prints, locks and saves."""

    rank: int
    size: int
    device: torch.device

    @property
    def chief(self) -> bool:
        """True in the one process that prints and saves."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """True if the flag is set in any process."""
        if self.size == 1:
            return flag
        return bool(self.sum_(torch.tensor(float(flag), device=self.device)))

    def barrier(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()

    def share(self, batch: int, accumulate: int, part: int) -> range:
        """The places in the global batch that this process works on in microbatch `part`."""
        whole = batch // accumulate
        mine = whole // self.size
        first = part * whole + self.rank * mine
        return range(first, first + mine)


def join() -> World:
    """This process's world, from the environment that torchrun or accelerate set, on the best device there is."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    wants_cpu = os.environ.get("LATENTRY_DEVICE", "") == "cpu" or not torch.cuda.is_available()
    if size == 1 and wants_cpu:
        return World(0, 1, torch.device("cpu"))
    from accelerate import PartialState

    state = PartialState(cpu=wants_cpu)
    return World(state.process_index, state.num_processes, state.device)
