"""Batches of the endless stream; the number of workers changes nothing but the speed."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from latentry.data.dataset import ImageData, to_float
from latentry.data.header import Array, BadImage
from latentry.errors import LatentryError


@dataclass(frozen=True)
class Batch:
    """image: (B, C, H, W) fp32 in [-1, 1]. label, index, position: (B,) int64. flip: (B,) bool. text: B captions."""

    image: Tensor
    text: list[str]
    label: Tensor
    index: Tensor
    position: Tensor
    flip: Tensor


@dataclass(frozen=True)
class _Raw:
    """What a worker sends: small numbers, pickled through the pipe rather than through /dev/shm."""

    pixels: Array | None
    text: list[str]
    label: list[int]
    index: list[int]
    position: list[int]
    flip: list[bool]
    bad: list[BadImage]


class _Fetch(Dataset[Any]):
    def __init__(self, data: ImageData) -> None:
        self.data = data

    def __getitems__(self, positions: Sequence[int]) -> _Raw:
        data = self.data
        pixels: list[Array] = []
        indices: list[int] = []
        bad: list[BadImage] = []
        places = [data.pick(position) for position in positions]
        for place in places:
            found, index, met = data.pixels(place)
            bad += met
            indices.append(index)
            if found is not None:
                pixels.append(found)
        text = [data.text(index, place.caption) for index, place in zip(indices, places, strict=True)]
        labels = [data.label(index) for index in indices]
        whole = np.stack(pixels) if len(pixels) == len(places) else None
        return _Raw(whole, text, labels, indices, list(positions), [place.flip for place in places], bad)


class _Steps(Sampler[list[int]]):
    def __init__(self, start: int, positions_of: Callable[[int], Sequence[int]]) -> None:
        self.start, self.positions_of = start, positions_of

    def __iter__(self) -> Iterator[list[int]]:
        step = self.start
        while True:
            yield list(self.positions_of(step))
            step += 1


def batches(
    data: ImageData,
    start: int = 0,
    batch: int = 1,
    positions_of: Callable[[int], Sequence[int]] | None = None,
    workers: int = 0,
    pin: bool = False,
) -> Iterator[Batch]:
    """Yield the batches of step `start`, `start` + 1, ... without end; closing the iterator stops the workers.

    positions_of: the places in the global stream of a step (a process of several gives its own part); by default
    step * batch ... step * batch + batch - 1. workers: processes that decode. pin: page-locked memory for CUDA.
    Raises `LatentryError` once more than `max_bad` files are bad.
    """
    of = positions_of or (lambda step: range(step * batch, (step + 1) * batch))
    loader: DataLoader[_Raw] = _Loader(
        _Fetch(data),
        batch_sampler=_Steps(start, of),
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=partial(_quiet_worker, os.getpid()),
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        prefetch_factor=4 if workers else None,
    )
    with _closing_workers(loader) as raws:
        for raw in raws:
            yield _to_batch(data, raw, pin)


class _Loader(DataLoader[_Raw]):
    """Without the advice that fewer workers than asked for would do."""

    def check_worker_number_rationality(self) -> None:
        return


@contextmanager
def _closing_workers(loader: DataLoader[_Raw]) -> Iterator[Iterator[_Raw]]:
    """Workers end with the loop, and before multiprocessing waits for them where the loop is left open at exit."""
    raws = iter(loader)
    close = getattr(raws, "_shutdown_workers", lambda: None)
    atexit.register(close)
    try:
        yield raws
    finally:
        atexit.unregister(close)
        close()


def _unchanged(raw: Any) -> Any:
    return raw


def _quiet_worker(parent: int, _: int) -> None:
    """Signals for the whole group are the main process's business; workers end when it closes them or is gone.

    torch's own watch misses a parent that is gone while a worker waits on a pipe, which its siblings hold open, and one
    that went before the worker had begun: so the parent's number comes from the parent.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _end_with(parent: int) -> None:
    """Leave at once when the parent is gone: nothing in a worker is worth keeping, and its exit could wait for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _to_batch(data: ImageData, raw: _Raw, pin: bool) -> Batch:
    data.source.note(raw.bad)
    if raw.pixels is None:
        raise LatentryError(f"data folder {data.root}: no image could be read in place of {raw.bad[0]}.")
    image = torch.from_numpy(np.ascontiguousarray(to_float(raw.pixels).transpose(0, 3, 1, 2)))
    numbers = [torch.tensor(values, dtype=torch.int64) for values in (raw.label, raw.index, raw.position)]
    label, index, position = numbers
    return Batch(image.pin_memory() if pin else image, raw.text, label, index, position, torch.tensor(raw.flip))
