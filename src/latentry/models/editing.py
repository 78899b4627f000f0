"""Prompt-to-prompt: edited images that attend as their originals do (Hertz et al. 2022, algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from latentry.conditioning.words.alignment import align, places_of
from latentry.conditioning.words.prompts import Prompts
from latentry.diffusion.schedule import Level
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.nn.attention import Edit

EditsAt = Callable[[Level], Mapping[str, Edit]]
"""level -> the `edits` of the UNet there"""


@dataclass(frozen=True)
class PromptEdit:
    """What becomes of the images of a prompt, which stand in pairs: an original, then its edit.

    condition: the name of the prompts. weights: by word of `edited`, what the attention to it is multiplied by.
    cross_share, self_share: for the first such share of the steps the edits take over where their originals look, by
    cross-attention (which pixels a word is about) and by self-attention (which pixels belong together).
    """

    condition: str
    source: str
    edited: str
    weights: Mapping[str, float] = field(default_factory=dict)
    cross_share: float = 0.8
    self_share: float = 0.4

    @property
    def changes_nothing(self) -> bool:
        """Whether the edits are their originals."""
        return self.source == self.edited and all(weight == 1 for weight in self.weights.values())

    def bound(self, model: LatentDiffusion, values: Mapping[str, Sequence[Any]], levels: Sequence[Level]) -> EditsAt:
        """The edits of a call of the UNet whose first rows have the condition of `values`; others are left alone."""
        pairs = len(values[self.condition]) // 2
        crosses = set(model.unet.cross_attention_paths)
        shares, weights = (part.to(model.device()) for part in self._tokens(model, values))
        cross = dict.fromkeys(crosses, of_pairs(pairs, lambda source, own: mixed(source, own, shares) * weights))
        own_paths = [path for path in model.unet.attention_paths if path not in crosses]
        within = dict.fromkeys(own_paths, of_pairs(pairs, lambda source, own: source))
        end_cross, end_self = (level_after(levels, share).t for share in (self.cross_share, self.self_share))

        def at(level: Level) -> Mapping[str, Edit]:
            return (cross if level.t > end_cross else {}) | (within if level.t > end_self else {})

        return at

    def _tokens(self, model: LatentDiffusion, values: Mapping[str, Sequence[Any]]) -> tuple[Tensor, Tensor]:
        """`mixed`'s shares (L, L) and the weights (L,) of all tokens; those of other conditions stay what they are."""
        prompts = model.conditioners[self.condition]
        assert isinstance(prompts, Prompts)
        place, length = model.tokens_of(self.condition, values)
        shares, weights = torch.eye(length), torch.ones(length)
        shares[place, place] = align(prompts.tokenizer, self.source, self.edited)
        for word, weight in self.weights.items():
            weights[[place.start + at for at in places_of(prompts.tokenizer, self.edited, word)]] *= weight
        return shares, weights


def mixed(source: Tensor, own: Tensor, shares: Tensor) -> Tensor:
    """Attention (..., L) of an original, by `shares` (L, L) of `align`; own where a token got none."""
    return torch.where(shares.sum(0) > 0, source @ shares, own)


def of_pairs(pairs: int, change: Callable[[Tensor, Tensor], Tensor]) -> Edit:
    """change(originals', edits') are the edits' probabilities. Rows: originals, each before its edit, then others."""

    def edit(probabilities: Tensor) -> Tensor:
        told, untold = probabilities[: 2 * pairs], probabilities[2 * pairs :]
        originals, edits = told.unflatten(0, (pairs, 2)).unbind(1)  # each (pairs, heads, Q, L)
        return torch.cat([torch.stack([originals, change(originals, edits)], 1).flatten(0, 1), untold])

    return edit


def level_after(levels: Sequence[Level], share: float) -> Level:
    """The level at which a share of the steps, in whole steps, is done."""
    return levels[round(share * (len(levels) - 1))]
