"""What every conditioner is: values in, a `Cond` out, and a null of the same shapes."""

from __future__ import annotations

import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from latentry.conditioning.cond import Cond
from latentry.kinds import KindOptions


@dataclass(frozen=True)
class BuildContext:
    """What a conditioner may need beside its options.

    labels: the names of the training data's labels, by number. captions: its texts. labelled: called for the same
    texts, each with the number of its image's label; none where there are no labels.
    files: the text files a saved conditioner left (`Conditioner.files`); they win over labels and captions.
    encode: images (B, C, H, W) in [-1, 1] to latents without scale, for conditions that pass through the first stage;
    its weights are where the conditioner is. image_channels: C of these images, where it is known.
    report: called with one line for what a person should know, for example how many captions were cut.
    """

    labels: Sequence[str] = ()
    captions: Sequence[str] = ()
    labelled: Callable[[], Iterable[tuple[str, int]]] = tuple
    files: Mapping[str, str] = field(default_factory=dict)
    encode: Callable[[Tensor], Tensor] | None = None
    image_channels: int | None = None
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

    def __init__(self) -> None:
        super().__init__()
        # It has no numbers, is not saved, and moves with `.to`: so those without weights know where the model is. On
        # the CPU even where modules are built on `meta`, since no file has anything to put in its place.
        self.register_buffer("place", torch.empty(0, device="cpu"), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model is, and where `encode` and `null` make their tensors."""
        return next(itertools.chain(self.parameters(), self.buffers())).device

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
