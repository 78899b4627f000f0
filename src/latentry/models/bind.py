"""From a model and its conditions to `Denoisers`: x0 under each condition in one network call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from latentry.conditioning import Cond, batch
from latentry.devices import autocast
from latentry.diffusion.contracts import Denoisers
from latentry.diffusion.schedule import CLEAN, Level
from latentry.models.editing import EditsAt
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.nn.unet import Deep
from latentry.windows import Window


def bind(
    model: LatentDiffusion,
    conds: Sequence[Cond],
    levels: Sequence[Level],
    *,
    bf16: bool = False,
    edits: EditsAt | None = None,
    reuse: int = 1,
) -> Denoisers:
    """Predict x0 of the same x under each of `conds`; arguments as of `bind_at`."""
    return bind_at(model, conds, levels, bf16=bf16, edits=edits, reuse=reuse)(None)


def bind_at(
    model: LatentDiffusion,
    conds: Sequence[Cond],
    levels: Sequence[Level],
    *,
    bf16: bool = False,
    edits: EditsAt | None = None,
    reuse: int = 1,
) -> Callable[[Sequence[Window] | None], Denoisers]:
    """Predict x0 under each of `conds`, of windows of the latent, or of all of it (None).

    x: (B, C, h, w), or (windows B, C, h, w) of windows of one size, those of the first window first. What a condition
    says of places (concat) is that of the window, all else of the whole image. A latent whose sides the UNet cannot
    halve as often as it does is mirrored at the right and bottom for it.

    Cross-attention keys and values are computed once; the network may run in bf16, everything around it is fp32.
    levels: those known before the solver runs, whose time embeddings are computed at once; a solver's own when visited.
    edits: what to do with attention at a level; its rows are the images (of one window) under the first of `conds`,
    then the others.
    reuse: so many evaluations share the features below the first resolution, those of the first of them.
    """
    unet, device, factor, joined = model.unet, model.device(), model.options.unet.factor, batch(conds)
    embeddings: dict[float, Tensor] = {}

    precision = partial(autocast, device, "bf16") if bf16 else nullcontext

    def embed(times: Sequence[float]) -> None:
        table = unet.embed_time(torch.tensor(times, dtype=torch.float32, device=device))
        embeddings.update(zip(times, table, strict=True))

    with torch.no_grad(), precision():
        embed(sorted({level.t for level in levels if level != CLEAN}))
        context_kv = None if joined.context is None else unet.project_context(joined.context)

    def predict(x: Tensor, level: Level, windows: Sequence[Window] | None, shared: Shared) -> tuple[Tensor, ...]:
        told, places = _at(joined, windows), 1 if windows is None else len(windows)
        if model.prediction.regresses:
            x, level = torch.zeros_like(x), model.schedule.level(model.schedule.steps - 1)
        repeated = torch.cat([part for part in x.chunk(places) for _ in conds])  # (places n B, c, h, w)
        if level.t not in embeddings:
            with torch.no_grad(), precision():
                embed([level.t])
        with precision():
            out = unet(
                mirrored(repeated, factor).float(),
                torch.full((repeated.shape[0],), level.t, device=device),
                context=told.context,
                context_mask=told.context_mask,
                concat=None if told.concat is None else mirrored(told.concat, factor),
                vector=told.vector,
                time_embedding=embeddings[level.t].expand(repeated.shape[0], -1),
                context_kv=context_kv and [(_again(key, places), _again(value, places)) for key, value in context_kv],
                edits=edits(level) if edits else None,
                deep=shared.next(),
            )
        outputs = out[..., : x.shape[-2], : x.shape[-1]].to(x.dtype).unflatten(0, (places, len(conds), -1)).unbind(1)
        return tuple(model.prediction.x0(x, o.flatten(0, 1), level.alpha, level.sigma) for o in outputs)

    kept: dict[tuple[Window, ...], Shared] = {}
    return lambda at: partial(predict, windows=at, shared=kept.setdefault(tuple(at or ()), Shared(reuse)))


class Shared:
    """The deep features of a UNet, kept for `reuse` evaluations at one place; 1 keeps none."""

    def __init__(self, reuse: int) -> None:
        self.reuse, self.calls, self.deep = reuse, 0, Deep()

    def next(self) -> Deep | None:
        """For the next evaluation: empty where it is to be a whole one."""
        if self.calls % self.reuse == 0:
            self.deep = Deep()
        self.calls += 1
        return None if self.reuse == 1 else self.deep


def _at(told: Cond, windows: Sequence[Window] | None) -> Cond:
    """What is told of each of the windows, one after another."""
    if windows is None:
        return told
    there = replace(told, concat=None).map(partial(_again, times=len(windows)))
    return there if told.concat is None else replace(there, concat=torch.cat([at.of(told.concat) for at in windows]))


def _again(part: Tensor, times: int) -> Tensor:
    """(B, ...) -> (times B, ...)"""
    return part if times == 1 else part.repeat(times, *[1] * (part.ndim - 1))


def mirrored(x: Tensor, multiple: int) -> Tensor:
    """x (B, C, h, w), continued to the right and downwards by its mirror image up to multiples of `multiple`."""
    for dim in (-2, -1):
        length = x.shape[dim]
        if length % multiple:
            there = torch.arange(length + -length % multiple, device=x.device) % (2 * length)
            x = x.index_select(dim, torch.minimum(there, 2 * length - 1 - there))
    return x
