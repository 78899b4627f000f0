"""Where which objects are: token numbers of boxes, read by a small transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from latentry.bounds import Heads, Layers, Length, Rows, Width
from latentry.conditioning.base import BuildContext, Conditioner, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.data.sample import Sample
from latentry.errors import UsageError
from latentry.kinds import KindOptions
from latentry.nn.text.encoder import TextTransformer


class LayoutOptions(KindOptions):
    """Options of `layout`; the defaults are those of the paper's layout-to-image model.

    width, layers, heads, head_channels: of the transformer. length: tokens of a layout. vocabulary: how many there are;
    the last means "no object".
    """

    kind: Literal["layout"] = "layout"
    width: Width = 512
    layers: Layers = 16
    heads: Heads = 8
    head_channels: Width = 64
    length: Length = 92
    vocabulary: Rows = Field(default=8192, ge=2)


class Layout(Conditioner):
    """Token numbers to a context (B, length, width); fewer than `length` are filled up with "no object".

    The null is a layout without objects. Source: Rombach et al. 2022, appendix D.1.
    """

    reads = frozenset[str]()

    def __init__(self, options: LayoutOptions) -> None:
        super().__init__()
        self.options: LayoutOptions = options
        self.context_width = options.width
        self.transformer = TextTransformer(
            vocabulary=options.vocabulary,
            length=options.length,
            width=options.width,
            layers=options.layers,
            heads=options.heads,
            head_channels=options.head_channels,
        )

    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        rows = [self._row([] if value is None else value) for value in values]
        ids = torch.tensor(rows, device=self.device)  # (B, L)
        return Cond(context=self.transformer(ids))  # (B, L, D)

    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> Any:
        raise UsageError(
            "layout: nothing in a folder of images is given to it yet. Import a published model that has it."
        )

    def _row(self, value: Any) -> list[int]:
        o = self.options
        try:
            numbers = [int(number) for number in value]
        except (TypeError, ValueError):
            raise UsageError(f"layout: {value!r} is not a list of token numbers. Give one.") from None
        if len(numbers) > o.length or any(not 0 <= number < o.vocabulary for number in numbers):
            raise UsageError(
                f"layout: {len(numbers)} tokens from {min(numbers)} to {max(numbers)}; accepted are at most {o.length} "
                f"tokens from 0 to {o.vocabulary - 1}."
            )
        return numbers + [o.vocabulary - 1] * (o.length - len(numbers))


def build(options: LayoutOptions, context: BuildContext) -> Layout:
    """Build from options alone."""
    return Layout(options)


KIND = ConditionerKind(LayoutOptions, build, Layout)
