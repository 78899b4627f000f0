"""One network call for several requests: their rows side by side, each at its own time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from latentry.devices import autocast
from latentry.serve.engine.strand import current


@dataclass(frozen=True)
class Call:
    """A network call that waits. forward: of the network. how: its keywords. grad, bf16: as where it was made."""

    forward: Any
    x: Tensor
    t: Tensor
    how: dict[str, Any]
    grad: bool
    bf16: bool

    @property
    def alike(self) -> object:
        """Equal for calls that can be made as one: of one network, with parts of one shape but for the rows.

        None for one that stays alone: where attention is edited or a gradient is wanted.
        """
        parts = [self.x, *self._tensors()]
        if self.how.get("edits") or self.grad or any(len(part) != len(self.x) for part in parts):
            return None
        named = tuple(name for name, value in self.how.items() if value is not None)
        return self.forward, self.bf16, named, tuple((part.shape[1:], part.dtype) for part in parts)

    def _tensors(self) -> Iterator[Tensor]:
        for value in self.how.values():
            if isinstance(value, Tensor):
                yield value
            elif isinstance(value, list):
                yield from (tensor for pair in value for tensor in pair)


def share(network: nn.Module) -> None:
    """From now on its calls inside a strand are asked for, so that they can be made together."""
    if not isinstance(network.forward, partial):
        network.forward = partial(_shared, network.forward)


def _shared(forward: Any, x: Tensor, t: Tensor, **how: Any) -> Tensor:
    strand = current()
    if strand is None:
        return forward(x, t, **how)
    grad = torch.is_grad_enabled() and x.requires_grad
    return strand.ask(Call(forward, x, t, how, grad, torch.is_autocast_enabled(x.device.type)))


def groups(calls: Sequence[Call], rows: int) -> list[list[int]]:
    """The numbers of those that are made together, of at most so many rows."""
    found: list[list[int]] = []
    open_: dict[object, tuple[list[int], int]] = {}
    for number, call in enumerate(calls):
        key, size = call.alike, len(call.x)
        group, taken = open_.get(key, ([], rows)) if key is not None else ([], rows)
        if taken + size > rows:
            group, taken = [], 0
            found.append(group)
        group.append(number)
        if key is not None:
            open_[key] = group, taken + size
    return found


def together(calls: Sequence[Call]) -> list[Tensor]:
    """What each of them gives, in one call of the network."""
    first = calls[0]
    with torch.set_grad_enabled(first.grad), autocast(first.x.device, "bf16" if first.bf16 else "fp32"):
        if len(calls) == 1:
            return [first.forward(first.x, first.t, **first.how)]
        how = {name: _joined([call.how[name] for call in calls]) for name in first.how}
        out = first.forward(torch.cat([c.x for c in calls]), torch.cat([c.t for c in calls]), **how)
        return list(out.split([len(call.x) for call in calls]))


def _joined(values: Sequence[Any]) -> Any:
    """Rows side by side: of tensors, and of lists of pairs of them (keys and values)."""
    if isinstance(values[0], Tensor):
        return torch.cat(list(values))
    if isinstance(values[0], list):
        return [tuple(map(torch.cat, zip(*pairs, strict=True))) for pairs in zip(*values, strict=True)]
    return values[0]
