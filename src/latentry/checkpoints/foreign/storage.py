"""The bytes of a foreign file, mapped, and the views on them that are its tensors."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor

from latentry.checkpoints.foreign.names import Unreadable

MOST_DIMENSIONS = 64
MOST_ELEMENTS = 1 << 62
MOST_EXPANDED = 1 << 28
"""Bytes. Strides of zero let a few bytes stand for any number of elements; the first copy would fill the memory."""


class Mapped:
    """A file's bytes without reading them. Pages are private: writing to a tensor never changes the file."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self.size = len(self.map)

    @cached_property
    def storage(self) -> torch.UntypedStorage:
        return torch.frombuffer(self.map, dtype=torch.uint8).untyped_storage()

    def part(self, start: int, nbytes: int, width: int) -> torch.UntypedStorage:
        """Bytes [start, start + nbytes), which lie inside the file.

        width: of an element, bytes. Where `start` is not a multiple of it, as happens in the legacy format, a copy.
        """
        part: torch.UntypedStorage = self.storage[start : start + nbytes]
        return part if start % width == 0 else part.clone()


@dataclass(frozen=True)
class Stored:
    """A storage that a pickle names. dtype: None where the tensor has it. data: None when weights are not read."""

    dtype: torch.dtype | None
    nbytes: int
    data: torch.UntypedStorage | None


def is_count(value: object) -> TypeGuard[int]:
    """A number that can be a size, stride, offset or length."""
    return type(value) is int and 0 <= value < MOST_ELEMENTS


def view(stored: Stored, dtype: torch.dtype | None, offset: object, size: object, stride: object) -> Tensor:
    """The tensor of `size` and `stride` (elements) at `offset` (elements) of a storage; on `meta` without its data.

    Raises `Unreadable` unless every element lies inside the storage, before anything is built.
    """
    if dtype is None or not is_count(offset):
        raise Unreadable("is damaged: a tensor has no dtype or no offset. Take another copy.")
    sizes, strides = counts(size), counts(stride)
    if len(sizes) != len(strides):
        raise Unreadable("is damaged: a tensor has more sizes than strides, or fewer. Take another copy.")
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides))
    end = offset if 0 in sizes else last + 1
    if end * dtype.itemsize > stored.nbytes:
        raise Unreadable(
            f"is damaged: a tensor of shape {sizes} needs {end * dtype.itemsize} bytes of a storage that has "
            f"{stored.nbytes}. Take another copy."
        )
    total = math.prod(sizes) * dtype.itemsize
    absurd = math.prod(max(n, 1) for n in sizes) * dtype.itemsize >= MOST_ELEMENTS
    if absurd or total > max(stored.nbytes, MOST_EXPANDED):
        raise Unreadable(
            f"holds a tensor of shape {sizes} whose elements share {stored.nbytes} bytes; at most {MOST_EXPANDED} "
            "bytes are repeated so. Save it again with .contiguous()."
        )
    if stored.data is None:
        return torch.empty(sizes, dtype=dtype, device="meta")
    return torch.empty(0, dtype=dtype).set_(stored.data, offset, sizes, strides)


def counts(value: object) -> tuple[int, ...]:
    """The value as a size or stride. Raises `Unreadable` where it cannot be one."""
    if not isinstance(value, tuple | list) or len(value) > MOST_DIMENSIONS or not all(map(is_count, value)):
        raise Unreadable("is damaged: a tensor's size or stride is not a short list of numbers. Take another copy.")
    return tuple(value)
