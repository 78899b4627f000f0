"""The processes of a run: which one this is, and sums over all of them."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from latentry import devices
from latentry.errors import UsageError
from latentry.training.loop import patience
from latentry.training.loop.patience import Watch
from latentry.training.recipe.training import StageTraining


@dataclass(frozen=True)
class World:
    """This process among `size`. Rank 0 alone prints, locks and saves. watch: ends a wait for one that is stopped."""

    rank: int
    size: int
    device: torch.device
    watch: Watch | None = None

    @property
    def chief(self) -> bool:
        """True in the one process that prints and saves."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
            if tensor.is_cuda:  # whoever reads the sum waits for it; here it is seen that this is waiting
                torch.cuda.current_stream(tensor.device).synchronize()
            self._waited()
        return tensor

    def sum_numbers(self, numbers: Sequence[float]) -> list[float]:
        """Each number's sum over processes, in float64."""
        if self.size == 1:
            return list(numbers)
        total: list[float] = self.sum_(torch.tensor(numbers, dtype=torch.float64, device=self.device)).tolist()
        return total

    def any(self, flag: bool) -> bool:
        """True if the flag is set in any process."""
        if self.size == 1:
            return flag
        return bool(self.sum_(torch.tensor(float(flag), device=self.device)))

    def barrier(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()
            self._waited()

    def _waited(self) -> None:
        if self.watch is not None:
            self.watch.steps += 1

    @contextmanager
    def together(self) -> Iterator[None]:
        """For the length of a `with` the loss of another process is a `ProcessLost`, in one line."""
        try:
            yield
        except Exception as error:
            if self.size == 1 or not patience.is_lost(error):
                raise
            if self.watch is not None:
                self.watch.alone = True
            raise patience.lost(self.rank, self.size, "another process of this run is gone") from error

    def check_batch(self, where: str, batch: int, accumulate: int) -> None:
        """Raise UsageError unless every process can work on equally many images in every part of the batch."""
        parts = self.size * accumulate
        if batch % parts:
            near = " or ".join(str(n) for n in (batch // parts * parts, (batch // parts + 1) * parts) if n)
            raise UsageError(
                f"{where}.batch: {batch} images a step; {self.size} processes x {accumulate} accumulated parts need a "
                f"multiple of {parts}. Set {where}.batch to {near}, or change {where}.accumulate or the processes."
            )

    def microbatch(self, training: StageTraining) -> int:
        """How many images this process works on at once."""
        return max(1, training.batch // training.accumulate // self.size)

    def share(self, batch: int, accumulate: int, part: int) -> range:
        """The places in the global batch that this process works on in microbatch `part`; see `check_batch`."""
        whole = batch // accumulate
        mine = whole // self.size
        first = part * whole + self.rank * mine
        return range(first, first + mine)


def join(device: str = devices.AUTO) -> World:
    """This process's world, from the environment that torchrun or accelerate set. device: as `devices.choose` takes it.

    Of several processes each gets a GPU of its own, where there are any and `device` does not say otherwise.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = devices.choose(device)
    if size == 1:
        return World(0, 1, chosen)
    from accelerate import PartialState

    watch = Watch(int(os.environ.get("RANK", "0")), size, patience.limit())
    watch.start()
    state = PartialState(cpu=chosen.type != "cuda", timeout=patience.FOR_EVER)
    watch.connect()
    atexit.register(_leave, watch)
    return World(state.process_index, state.num_processes, state.device, watch)


def _leave(watch: Watch) -> None:
    """Close the process group, which otherwise warns or waits for the others when this process ends."""
    if watch.alone:
        with suppress(OSError, ValueError):  # its reader may be gone too
            sys.stdout.flush()
        patience.leave()
    watch.end()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
