"""What the conditioners of arrays have in common: sizes that come with the values, and zeros as the null."""

from __future__ import annotations

import reprlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentry.conditioning.base import Conditioner
from latentry.conditioning.cond import Cond
from latentry.devices import sent
from latentry.errors import UsageError


class Arrays(Conditioner):
    """A conditioner of arrays, whose sizes come with the values. Its null is zeros of the size of the others.

    A value is checked by `tensors` before anything is computed, so what `read` raises is never the user's mistake.
    """

    takes: str
    """What one value is, for errors: "a tensor (C, h, w) in [-1, 1]"."""

    @abstractmethod
    def tensors(self, value: Any) -> tuple[Tensor, ...]:
        """One value, which is not None, as float32 tensors. Errors: ValueError or TypeError that says what is wrong."""

    @abstractmethod
    def read(self, *columns: Tensor) -> Cond:
        """The condition of B values. columns: each of their `tensors` with B in front, on the model's device."""

    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        present = [value for value in values if value is not None]
        if not present:
            raise UsageError(f"{self.options.kind}: nothing was given; this model always takes {self.takes}. Give one.")
        cond = self.read(*self._columns(present))
        there = sent(torch.tensor([value is not None for value in values]), self.device)  # (B,)
        rows = (there.cumsum(0) - 1).clamp(min=0)
        return cond.map(lambda part: part[rows] * there.view(-1, *[1] * (part.ndim - 1)).to(part))

    def null(self, batch: int, values: Sequence[Any] | Tensor | None = None) -> Cond:
        return self.encode([None] * batch if values is None else values).map(torch.zeros_like)

    def dropped(self, values: Sequence[Any] | Tensor, keep: Tensor) -> Cond:
        """Only what is kept is encoded: zeros need no first stage."""
        rows = keep.nonzero()[:, 0].tolist() if self.has_null else range(len(keep))
        kept = self.encode([values[row] for row in rows or [0]])

        def spread(part: Tensor) -> Tensor:
            whole = part.new_zeros(len(keep), *part.shape[1:])
            whole[list(rows)] = part[: len(rows)]
            return whole

        return kept.map(spread)

    def absent(self, batch: int, size: tuple[int, int]) -> Cond:
        """Zeros: one vector to attend to, which says what any number of them does."""
        parts = {
            "context": self.context_width and (batch, 1, self.context_width),
            "vector": self.vector_width and (batch, self.vector_width),
            "concat": self.concat_channels and (batch, self.concat_channels, *size),
        }
        return Cond(**{name: torch.zeros(shape, device=self.device) for name, shape in parts.items() if shape})

    def _columns(self, values: list[Any]) -> list[Tensor]:
        """The tensors of all values, stacked. Errors: `UsageError` for a value that cannot be read."""
        try:
            columns = list(zip(*map(self.tensors, values), strict=True))
            for column in columns:
                shapes = list(dict.fromkeys(tuple(tensor.shape) for tensor in column))
                if len(shapes) > 1:
                    raise ValueError(f"values of shapes {' and '.join(map(str, shapes))}")
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self.options.kind}: {error}; accepted is {self.takes}, all of one size.") from error
        return [torch.stack([sent(tensor, self.device) for tensor in column]) for column in columns]


def numbers(value: Any, *ndims: int) -> Tensor:
    """An array, tensor or nested list as a tensor of its own type, of one of `ndims` dimensions.

    Errors: ValueError or TypeError for anything else.
    """
    if not isinstance(value, Tensor):
        array = np.asarray(value, order="C")
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{reprlib.repr(value)} is not an array of numbers")
        value = torch.as_tensor(array)
    if value.is_complex():
        raise TypeError("a value of complex numbers")
    if value.ndim not in ndims:
        raise ValueError(f"a value has {value.ndim} dimensions, not {' or '.join(map(str, ndims))}")
    tensor: Tensor = value
    return tensor
