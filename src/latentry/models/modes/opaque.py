"""A packed layer as an operator of torch, so that compiled regions call it as it is, in its place."""

from __future__ import annotations

from itertools import count
from typing import Protocol
from weakref import WeakValueDictionary

import torch
from torch import Tensor

_NUMBERS = count()


class Layer(Protocol):
    """What is called."""

    def now(self, x: Tensor) -> Tensor:
        """Its result."""

    def like(self, x: Tensor) -> Tensor:
        """A tensor in the result's shape, format and precision, of any values."""


_LAYERS: WeakValueDictionary[int, Layer] = WeakValueDictionary()


def number(layer: Layer) -> int:
    """The number by which `call` finds a layer as long as it lives."""
    found = next(_NUMBERS)
    _LAYERS[found] = layer
    return found


def call(x: Tensor, number: int) -> Tensor:
    """The result of a layer."""
    result: Tensor = torch.ops.latentry.packed_layer(x, number)
    return result


_LIBRARY = torch.library.Library("latentry", "FRAGMENT")
_LIBRARY.define("packed_layer(Tensor x, int number) -> Tensor")
_LIBRARY.impl("packed_layer", lambda x, number: _LAYERS[number].now(x), "CompositeExplicitAutograd")
torch.library.register_fake("latentry::packed_layer", lambda x, number: _LAYERS[number].like(x), lib=_LIBRARY)
