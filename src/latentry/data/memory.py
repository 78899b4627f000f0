"""Memory that the processes reading a data folder share."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from latentry.data.files.header import Array


class ImageCache:
    """Prepared images in anonymous memory that forked workers share; memory is taken only as it fills.

    Not in /dev/shm, which containers keep small. Two processes may fill the same image: they write the same bytes.
    """

    def __init__(self, shape: tuple[int, ...], kind: np.dtype[np.generic]) -> None:
        self._facts = (shape, kind)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        self.pixels: Array = np.frombuffer(mmap.mmap(-1, size), dtype=kind).reshape(shape)
        self._filled: NDArray[np.uint8] = np.frombuffer(mmap.mmap(-1, shape[0]), dtype=np.uint8)

    def has(self, index: int) -> bool:
        return bool(self._filled[index])

    def put(self, index: int, pixels: Array) -> None:
        self.pixels[index] = pixels
        self._filled[index] = 1

    def __reduce__(self) -> tuple[type[ImageCache], tuple[tuple[int, ...], np.dtype[np.generic]]]:
        return ImageCache, self._facts


class Sizes:
    """(height, width) of each upright source, as far as it is known."""

    def __init__(self, count: int) -> None:
        self._sizes: NDArray[np.int32] = np.frombuffer(mmap.mmap(-1, 8 * max(count, 1)), dtype=np.int32).reshape(-1, 2)

    def get(self, index: int) -> tuple[int, int] | None:
        height, width = self._sizes[index].tolist()
        return (height, width) if height and width else None

    def put(self, index: int, height: int, width: int) -> None:
        self._sizes[index] = height, width

    def __reduce__(self) -> tuple[type[Sizes], tuple[int]]:
        return Sizes, (len(self._sizes),)
