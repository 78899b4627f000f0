"""What every conditioner is: values in, a `Cond` out, and a null of the same shapes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from latentry.conditioning.cond import Cond
from latentry.kinds import KindOptions


@dataclass(frozen=True)
class BuildContext:
    """What a conditioner may need beside its options.

    labels: the names of the training data's labels, by number. captions: its texts.
    files: the text files a saved conditioner left (`Conditioner.files`); they win over labels and captions.
    report: called with one line for what a person should know, for example how many captions were cut.
    """

    labels: Sequence[str] = ()
    captions: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    report: Callable[[str], None] = logging.getLogger("latentry").info


class Conditioner(nn.Module, ABC):
    """Turns values (labels, texts, ...) into a `Cond`.

    options: complete, so that options and `files` build the same conditioner again without the data.
    context_width, vector_width, concat_channels: what its `Cond` brings to the denoiser; None or 0 for nothing.
    """

    options: KindOptions
    context_width: int | None = None
    vector_width: int | None = None
    concat_channels: int = 0

    @abstractmethod
    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        """The condition of B values; None among them stands for the null. Errors: `UsageError` for a bad value."""

    def null(self, batch: int) -> Cond:
        """The condition that says nothing, with the shapes of `encode`, for `batch` images."""
        return self.encode([None] * batch)

    def files(self) -> dict[str, str]:
        """Text files, by name, that must be kept beside the weights."""
        return {}
