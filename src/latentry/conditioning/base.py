"""What every conditioner is: values in, a `Cond` out, and a null of the same shapes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentry.conditioning.cond import Cond
from latentry.errors import UsageError
from latentry.kinds import KindOptions


@dataclass(frozen=True)
class BuildContext:
    """What a conditioner may need beside its options.

    labels: the names of the training data's labels, by number. captions: its texts. labelled: called for the same
    texts, each with the number of its image's label; none where there are no labels.
    files: the text files a saved conditioner left (`Conditioner.files`); they win over labels and captions.
    encode: images (B, C, H, W) in [-1, 1] to latents without scale, for conditions that pass through the first stage.
    report: called with one line for what a person should know, for example how many captions were cut.
    """

    labels: Sequence[str] = ()
    captions: Sequence[str] = ()
    labelled: Callable[[], Iterable[tuple[str, int]]] = tuple
    files: Mapping[str, str] = field(default_factory=dict)
    encode: Callable[[Tensor], Tensor] | None = None
    report: Callable[[str], None] = logging.getLogger("latentry").info


class Conditioner(nn.Module, ABC):
    """Turns values (labels, texts, ...) into a `Cond`.

    options: complete, so that options and `files` build the same conditioner again without the data.
    context_width, vector_width, concat_channels: what its `Cond` brings to the denoiser; None or 0 for nothing.
    guesses_from: the name of another condition, from whose values it guesses those that were not asked for (`guessed`).
    """

    options: KindOptions
    guesses_from: str | None = None
    context_width: int | None = None
    vector_width: int | None = None
    concat_channels: int = 0

    @abstractmethod
    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        """The condition of B values; None among them stands for the null. Errors: `UsageError` for a bad value."""

    def null(self, batch: int, values: Sequence[Any] | Tensor | None = None) -> Cond:
        """The condition that says nothing, with the shapes of `encode`, for `batch` images.

        values: what these images would be asked with; needed by those whose shapes come with the values (`Arrays`).
        """
        return self.encode([None] * batch)

    def guessed(self, values: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        """The values, with guesses in place of None. others: the values of `guesses_from`."""
        return list(values)

    def files(self) -> dict[str, str]:
        """Text files, by name, that must be kept beside the weights."""
        return {}


class Arrays(Conditioner):
    """A conditioner of arrays, whose sizes come with the values. Its null is zeros of the size of the others."""

    takes: str
    """What one value is, for errors: "a tensor (C, h, w) in [-1, 1]"."""

    @abstractmethod
    def read(self, values: list[Any]) -> Cond:
        """The condition of B values, none of them None. Errors: as `encode`, and whatever a wrong shape raises."""

    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        given = [value for value in values if value is not None]
        if not given:
            raise UsageError(f"{self.options.kind}: nothing was given; this model always takes {self.takes}. Give one.")
        try:
            told = self.read(given)
        except (ValueError, RuntimeError, TypeError) as error:
            raise UsageError(f"{self.options.kind}: {error}; accepted is {self.takes}, all of one size.") from error
        rows = torch.tensor([value is not None for value in values]).cumsum(0) - 1
        absent = torch.tensor([value is None for value in values])
        return told.map(lambda part: part[rows.clamp(min=0)] * (~absent).view(-1, *[1] * (part.ndim - 1)).to(part))

    def null(self, batch: int, values: Sequence[Any] | Tensor | None = None) -> Cond:
        return self.encode([None] * batch if values is None else values).map(torch.zeros_like)


def stacked(values: Sequence[Any], ndim: int, device: torch.device | None = None) -> Tensor:
    """Arrays or tensors of equal shape and `ndim` dimensions as one float32 tensor. Errors: ValueError."""
    tensors = [torch.as_tensor(np.asarray(v) if not isinstance(v, Tensor) else v) for v in values]
    for tensor in tensors:
        if tensor.ndim != ndim:
            raise ValueError(f"a value has {tensor.ndim} dimensions, not {ndim}")
    return torch.stack(tensors).to(device)
