"""Maps that are read and written by windows: of a tensor, computed when read, or kept in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from latentry.nn.tiled.moments import Moments
from latentry.windows import Window

IN_MEMORY = 2**26
"""Bytes of a map up to which it is held in memory: 64 MiB."""


class Source(Protocol):
    """A map of one image. `read` gives a window that lies inside it: (1, channels, h, w)."""

    channels: int
    height: int
    width: int

    def read(self, window: Window) -> Tensor: ...


class Whole:
    """A tensor (1, C, H, W) as a source."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        _, self.channels, self.height, self.width = tensor.shape

    def read(self, window: Window) -> Tensor:
        return self.tensor[..., window.top : window.bottom, window.left : window.right]


class Mapped:
    """A function of each pixel of a source for itself, computed when it is read. channels: of the result."""

    def __init__(self, source: Source, change: Callable[[Tensor], Tensor], channels: int) -> None:
        self.source, self.change, self.channels = source, change, channels
        self.height, self.width = source.height, source.width

    @torch.no_grad()
    def read(self, window: Window) -> Tensor:
        return self.change(self.source.read(window))


class Folded:
    """A source whose squares of side `patch` are folded into channels (space to depth)."""

    def __init__(self, source: Source, patch: int) -> None:
        self.source, self.patch = source, patch
        self.channels, self.height, self.width = (
            source.channels * patch**2,
            source.height // patch,
            source.width // patch,
        )

    def read(self, window: Window) -> Tensor:
        return F.pixel_unshuffle(self.source.read(window.times(self.patch)), self.patch)


class Unfolded:
    """A source whose channels are unfolded into squares of side `patch`; windows start at multiples of it."""

    def __init__(self, source: Source, patch: int) -> None:
        self.source, self.patch = source, patch
        self.channels, self.height, self.width = (
            source.channels // patch**2,
            source.height * patch,
            source.width * patch,
        )

    def read(self, window: Window) -> Tensor:
        small = Window(*(side // self.patch for side in window))
        return F.pixel_shuffle(self.source.read(small), self.patch)


class Doubled:
    """A source with each pixel four times: nearest neighbours at twice the size."""

    def __init__(self, source: Source) -> None:
        self.source, self.channels = source, source.channels
        self.height, self.width = 2 * source.height, 2 * source.width

    def read(self, window: Window) -> Tensor:
        top, left = window.top // 2, window.left // 2
        small = self.source.read(Window(top, -(-window.bottom // 2), left, -(-window.right // 2)))
        large = F.interpolate(small, scale_factor=2.0, mode="nearest")
        down, right = window.top - 2 * top, window.left - 2 * left
        return large[..., down : down + window.height, right : right + window.width]


class Room:
    """Where maps are kept.

    folder: of temporary files, which have no names and are gone with the process; None: the system's. device: where
    windows are computed. in_memory: bytes of a map up to which it needs no file. progress: called with (layers done, of
    how many) while a coder works.
    """

    def __init__(
        self,
        folder: Path | None = None,
        device: torch.device | str = "cpu",
        in_memory: int = IN_MEMORY,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.progress = progress
        self.folder, self.device, self.in_memory = folder, torch.device(device), in_memory

    def plane(self, channels: int, height: int, width: int) -> Plane:
        """A map to be written."""
        size = 4 * channels * height * width
        rows = _InFile(self.folder, size) if size > self.in_memory else _InMemory(size)
        return Plane(rows, channels, height, width, self)


class Plane:
    """A map of fp32 that is written by windows, and read once they all are. moments: of the channels as written.

    On disk rows of pixels with their channels together, `stride` numbers a pixel.
    """

    def __init__(self, rows: _Rows, channels: int, height: int, width: int, room: Room, stride: int = 0) -> None:
        self.rows, self.channels, self.height, self.width = rows, channels, height, width
        self.room, self.stride = room, stride or channels
        self.moments = Moments(channels)

    def reused(self, channels: int) -> Plane:
        """A map in the same place: a window of it may be written once the same window of this one has been read.

        channels: no more than this one's.
        """
        return Plane(self.rows, channels, self.height, self.width, self.room, self.stride)

    def read(self, window: Window) -> Tensor:
        pixels = np.empty((window.height, window.width, self.stride), np.float32)
        for row, line in enumerate(pixels):
            self.rows.read(self._start(window, row), line)
        there = torch.from_numpy(pixels)[..., : self.channels].permute(2, 0, 1)[None]
        return there.to(self.room.device)  # (1, C, h, w), channels last in memory

    def write(self, window: Window, part: Tensor) -> None:
        """part: (1, channels, h, w)."""
        self.moments.add(part[0])
        pixels = part[0].permute(1, 2, 0).cpu().numpy()  # (h, w, C)
        if self.stride > self.channels:
            pixels = np.pad(pixels, ((0, 0), (0, 0), (0, self.stride - self.channels)))
        pixels = np.ascontiguousarray(pixels, np.float32)
        for row, line in enumerate(pixels):
            self.rows.write(self._start(window, row), line)

    def _start(self, window: Window, row: int) -> int:
        return 4 * self.stride * ((window.top + row) * self.width + window.left)


class _Rows(Protocol):
    def read(self, start: int, out: NDArray[np.float32]) -> None: ...
    def write(self, start: int, values: NDArray[np.float32]) -> None: ...


class _InMemory:
    def __init__(self, size: int) -> None:
        self.values = np.empty(size // 4, np.float32)

    def read(self, start: int, out: NDArray[np.float32]) -> None:
        out.reshape(-1)[:] = self.values[start // 4 : start // 4 + out.size]

    def write(self, start: int, values: NDArray[np.float32]) -> None:
        self.values[start // 4 : start // 4 + values.size] = values.reshape(-1)


class _InFile:
    """Read and written, not mapped: pages of a mapped file would count as the process's memory."""

    def __init__(self, folder: Path | None, size: int) -> None:
        self.file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - lives as long as the map
        self.file.truncate(size)

    def read(self, start: int, out: NDArray[np.float32]) -> None:
        left = memoryview(out.data).cast("B")
        self.file.seek(start)
        while left:
            left = left[self.file.readinto(left) :]

    def write(self, start: int, values: NDArray[np.float32]) -> None:
        left = memoryview(values.data).cast("B")
        self.file.seek(start)
        while left:
            left = left[self.file.write(left) :]
