"""Vectors of many images, kept in a file that goes away by itself, so that memory stays flat."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

CHUNK = 1024


class Shelf:
    """Tensors (B, ...) of one shape but for B, appended and read again in order as often as wanted.

    The file is read and not mapped: pages of a mapped file count as the process's memory.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, part: Tensor) -> None:
        self._shape = tuple(part.shape[1:])
        self._count += len(part)
        self._file.write(part.detach().cpu().contiguous().numpy().astype(np.float32, copy=False).tobytes())

    def chunks(self) -> Iterator[Tensor]:
        """(b, ...) float32, at most CHUNK at a time."""
        self._file.seek(0)
        size = 4 * int(np.prod(self._shape, dtype=np.int64)) * CHUNK
        while block := self._file.read(size):
            values = np.frombuffer(bytearray(block), dtype=np.float32)
            yield torch.from_numpy(values).view(-1, *self._shape)

    def close(self) -> None:
        self._file.close()
