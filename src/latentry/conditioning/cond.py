"""What a denoiser takes besides the noisy latent: conditions, and how they are joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentry.errors import LatentryError


@dataclass(frozen=True)
class Cond:
    """A condition for B images; every part is optional and named, never guessed from its rank.

    context: (B, L, D) for cross-attention. context_mask: (B, L) bool, True = attend; None attends to all.
    concat: (B, C, h, w), joined to the latent on channels. vector: (B, E), added to the time embedding; of (B, N, E)
    each is embedded by itself, and their mean is added.
    """

    context: Tensor | None = None
    context_mask: Tensor | None = None
    concat: Tensor | None = None
    vector: Tensor | None = None

    def parts(self) -> dict[str, Tensor]:
        """The parts that are there, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def map(self, change: Callable[[Tensor], Tensor]) -> Cond:
        """The same condition with `change` applied to each part."""
        return Cond(**{name: change(part) for name, part in self.parts().items()})


def where(keep: Tensor, kept: Cond, dropped: Cond) -> Cond:
    """`kept` for the images where `keep` (B,) is True, `dropped` (usually the null) for the others."""
    _same_parts([kept, dropped])
    others = dropped.parts()
    parts = {}
    for name, part in kept.parts().items():
        if part.shape != others[name].shape:
            raise LatentryError(f"condition: {name} is {tuple(part.shape)} and its null {tuple(others[name].shape)}.")
        parts[name] = torch.where(keep.to(part.device).view(-1, *[1] * (part.ndim - 1)), part, others[name])
    return Cond(**parts)


def combine(conds: Sequence[Cond]) -> Cond:
    """One condition of several, in order: contexts joined on L, concats on C, vectors added.

    Vectors of (B, N, E) are joined on N, and one beside them is added to each of the N. Contexts must have one width D.
    Where only some contexts have a mask, the others are attended to wholly.
    """
    contexts = [cond for cond in conds if cond.context is not None]
    concats = [cond.concat for cond in conds if cond.concat is not None]
    vectors = [cond.vector for cond in conds if cond.vector is not None]
    masked = any(cond.context_mask is not None for cond in contexts)
    return Cond(
        context=torch.cat([cond.context for cond in contexts if cond.context is not None], 1) if contexts else None,
        context_mask=torch.cat([_mask(cond) for cond in contexts], 1) if masked else None,
        concat=torch.cat(concats, 1) if concats else None,
        vector=_added(vectors) if vectors else None,
    )


def _added(vectors: Sequence[Tensor]) -> Tensor:
    single = [vector for vector in vectors if vector.ndim == 2]
    several = [vector for vector in vectors if vector.ndim == 3]
    if not several:
        return sum(single[1:], single[0])
    return sum((vector.unsqueeze(1) for vector in single), torch.cat(several, 1))


def batch(conds: Sequence[Cond]) -> Cond:
    """Conditions for one larger batch: each part joined on B."""
    _same_parts(conds)
    return Cond(**{name: torch.cat([cond.parts()[name] for cond in conds]) for name in conds[0].parts()})


def _same_parts(conds: Sequence[Cond]) -> None:
    names = [sorted(cond.parts()) for cond in conds]
    if any(part_names != names[0] for part_names in names):
        raise LatentryError(f"condition: parts {' and '.join(map(str, names))} do not match.")


def _mask(cond: Cond) -> Tensor:
    assert cond.context is not None
    if cond.context_mask is not None:
        return cond.context_mask
    return torch.ones(cond.context.shape[:2], dtype=torch.bool, device=cond.context.device)
