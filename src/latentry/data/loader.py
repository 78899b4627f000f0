"""Samples in order, read ahead by workers; their number changes nothing but the speed."""

from __future__ import annotations

import atexit
import itertools
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from latentry.data.dataset import ImageData, Pick
from latentry.data.files.header import Array, BadImage
from latentry.data.sample import Example, Sample, joined, to_float
from latentry.errors import LatentryError

Values = Callable[[Sample], dict[str, Any]]
"""What each condition is fed of one sample, by the condition's name."""
IMAGE = frozenset({"image"})
FORKS = sys.platform == "linux"
"""Whether workers are copies of this process."""


@dataclass(frozen=True)
class _Part:
    """What a worker sends: small numbers, pickled through the pipe rather than through /dev/shm.

    pixels: (B, H, W, C), or samples: as they are, or bare of what was read of them. values: what each condition is fed
    of each sample, pickled here since torch would send their tensors through /dev/shm. bad: the files met. error: what
    ended the reading.
    """

    positions: list[int]
    bad: list[BadImage]
    pixels: Array | None = None
    values: bytes | None = None
    samples: list[Sample] | None = None
    error: LatentryError | None = None


class _Fetch(Dataset[Any]):
    """Reads the samples of some places, each a position in the stream or a pick.

    sends: their pixels, the bare samples, or the samples as they are; besides the values, but with the last.
    """

    def __init__(
        self,
        data: ImageData,
        reads: frozenset[str],
        values: Values | None = None,
        sends: Literal["pixels", "bare", "whole"] = "pixels",
    ) -> None:
        self.data, self.reads, self.values, self.sends = data, reads, values, sends

    def __getitems__(self, places: Sequence[int | Pick]) -> _Part:
        picks = [place if isinstance(place, Pick) else self.data.pick(place) for place in places]
        positions = [pick.position for pick in picks]
        samples: list[Sample] = []
        bad: list[BadImage] = []
        for pick in picks:
            sample, met = self.data.read(pick, self.reads)
            bad += met
            if sample is None:
                return _Part(positions, bad, error=self.data.nothing_readable(met))
            samples.append(sample)
        if self.sends == "whole":
            return _Part(positions, bad, samples=samples)
        try:
            values = pickle.dumps([self.values(sample) for sample in samples]) if self.values else None
        except LatentryError as error:  # torch would wrap it in the worker's traceback
            return _Part(positions, bad, error=error)
        if self.sends == "bare":
            return _Part(positions, bad, values=values, samples=[sample.bare for sample in samples])
        return _Part(positions, bad, _stacked(samples), values)


def _stacked(samples: Sequence[Sample]) -> Array:
    return np.stack([sample.pixels for sample in samples if sample.pixels is not None])


def batches(
    data: ImageData,
    start: int = 0,
    batch: int = 1,
    positions_of: Callable[[int], Sequence[int]] | None = None,
    workers: int = 0,
    pin: bool = False,
    values: Values | None = None,
    reads: frozenset[str] = frozenset(),
) -> Iterator[Example]:
    """Yield the batches of step `start`, `start` + 1, ... without end; closing the iterator stops the workers.

    positions_of: the positions in the global stream of a step (a process of several gives its own part); by default
    step * batch ... step * batch + batch - 1. workers: processes that decode. pin: page-locked memory, for copies to
    CUDA beside the work. values: what each condition is fed of one sample; it runs in the workers where they are
    forked, else here. reads: the fields of a sample that it needs, besides the image.
    Raises `LatentryError` once more than `max_bad` files are bad.
    """
    of = positions_of or (lambda step: range(step * batch, (step + 1) * batch))
    here = values is not None and not _forked(workers)
    fetch = _Fetch(data, reads | IMAGE, None if here else values, "whole" if here else "pixels")
    with _parts(fetch, (list(of(step)) for step in itertools.count(start)), workers) as parts:
        for part in parts:
            yield _example(part, values, pin)


def _forked(workers: int) -> bool:
    """Whether values can be made by workers: a spawned one cannot carry what `values` may hold, such as networks."""
    return bool(workers) and FORKS


def samples(
    data: ImageData, picks: Iterable[Sequence[Pick]], workers: int = 0, reads: frozenset[str] = IMAGE
) -> Iterator[list[Sample]]:
    """Yield the samples of each group of picks, in order, once; the same as `ImageData.load` gives.

    workers: processes that decode ahead. reads: the fields to read. Raises as `batches`.
    """
    with _parts(_Fetch(data, reads, sends="whole"), (list(group) for group in picks), workers) as parts:
        for part in parts:
            yield part.samples or []


def valued(
    data: ImageData, picks: Iterable[Sequence[Pick]], values: Values, reads: frozenset[str], workers: int = 0
) -> Iterator[tuple[list[Sample], dict[str, list[Any]]]]:
    """As `samples`, the samples bare, with what each condition is fed of them. values, reads: as of `batches`."""
    here = not _forked(workers)
    fetch = _Fetch(data, reads, None if here else values, "whole" if here else "bare")
    with _parts(fetch, (list(group) for group in picks), workers) as parts:
        for part in parts:
            group = part.samples or []
            rows = pickle.loads(part.values) if part.values is not None else [values(sample) for sample in group]
            yield [sample.bare for sample in group], joined(rows)


def _example(part: _Part, values: Values | None, pin: bool) -> Example:
    pixels = _stacked(part.samples) if part.pixels is None and part.samples else part.pixels
    assert pixels is not None
    rows: list[dict[str, Any]] = pickle.loads(part.values) if part.values else []
    if values is not None and part.samples:
        rows = [values(sample) for sample in part.samples]
    image = torch.from_numpy(to_float(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))))
    return Example(image.pin_memory() if pin else image, None, joined(rows), part.positions)


class _Loader(DataLoader[_Part]):
    """Without the advice that fewer workers than requested would do."""

    def check_worker_number_rationality(self) -> None:
        return


@contextmanager
def _parts(fetch: _Fetch, places: Iterable[list[Any]], workers: int) -> Iterator[Iterator[_Part]]:
    """What is read of each group of places, in order.

    Workers end with the loop, and before multiprocessing waits for them where the loop is left open at exit.
    """
    loader = _Loader(
        fetch,
        batch_sampler=places,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=partial(_quiet_worker, os.getpid()),
        multiprocessing_context="fork" if workers and FORKS else None,
        prefetch_factor=4 if workers else None,
    )
    parts = iter(loader)
    close = getattr(parts, "_shutdown_workers", lambda: None)
    atexit.register(close)
    try:
        yield (_checked(part, fetch.data) for part in parts)
    finally:
        atexit.unregister(close)
        close()


def _checked(part: _Part, data: ImageData) -> _Part:
    """Note the bad files that were met, here, where all workers' are counted, and raise what ended the reading."""
    data.source.note(part.bad)
    if part.error is not None:
        raise part.error
    return part


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
