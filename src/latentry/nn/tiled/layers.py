"""The layers of encoder and decoder over maps in windows; each gives what it gives of the whole map at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentry.nn.coder import CoderBlock, PixelAttention
from latentry.nn.tiled.moments import normalised
from latentry.nn.tiled.plane import Plane, Source
from latentry.windows import Window, cover

Change = Callable[[Tensor], Tensor]
AT_ONCE = 2**23
"""Numbers of a window: 32 MiB in fp32, of which a layer needs a few."""
TOKENS_SIDE = 48
"""Of windows between which attention is computed: 2304 pixels each."""


def side_for(channels: int) -> int:
    """The side of windows of so many channels."""
    return max(16, math.isqrt(AT_ONCE // channels) // 16 * 16)


@torch.no_grad()
def sweep(target: Plane, channels: int, compute: Callable[[Window], Tensor]) -> Plane:
    """Write every window of `target`. channels: the most that its computation meets."""
    for window in cover(target.height, target.width, side_for(channels)):
        target.write(window, compute(window))
    return target


def taken(source: Source, window: Window, change: Change | None = None) -> Tensor:
    """A window, changed pixel by pixel; zeros where it leaves the map, as convolutions are padded."""
    inside = window.within(source.height, source.width)
    part = source.read(inside)
    part = part if change is None else change(part)
    beyond = (
        inside.left - window.left,
        window.right - inside.right,
        inside.top - window.top,
        window.bottom - inside.bottom,
    )
    return F.pad(part, beyond) if any(beyond) else part


@torch.no_grad()
def convolved(conv: nn.Conv2d, source: Source, window: Window, change: Change | None = None) -> Tensor:
    """A window of the result of a 3x3 convolution that keeps the size."""
    return F.conv2d(taken(source, window.grown(1), change), conv.weight, conv.bias)


def convolution(conv: nn.Conv2d, source: Source, target: Plane) -> Plane:
    """A 3x3 convolution of the whole map."""
    return sweep(target, max(source.channels, target.channels), lambda window: convolved(conv, source, window))


def halving(conv: nn.Conv2d, source: Plane) -> Plane:
    """`CoderDownsample`: a 3x3 convolution of stride 2, padded at the right and bottom alone."""
    target = source.room.plane(conv.out_channels, source.height // 2, source.width // 2)

    def compute(window: Window) -> Tensor:
        double = window.times(2)
        wide = Window(double.top, double.bottom + 1, double.left, double.right + 1)
        return F.conv2d(taken(source, wide), conv.weight, conv.bias, stride=2)

    return sweep(target, 4 * source.channels, compute)


def block(module: CoderBlock, x: Plane) -> Plane:
    """`CoderBlock`: its hidden map is kept until its statistics are known. The result may lie where `x` did."""
    hidden = x.room.plane(module.conv1.out_channels, x.height, x.width)
    out, most = module.conv2.out_channels, max(x.channels, hidden.channels)
    first = normalised(module.norm1, x.moments)
    sweep(hidden, most, lambda window: convolved(module.conv1, x, window, first))
    second = normalised(module.norm2, hidden.moments)
    target = x.reused(out) if out <= x.stride else x.room.plane(out, x.height, x.width)

    def compute(window: Window) -> Tensor:
        return module.shortcut(x.read(window)) + convolved(module.conv2, hidden, window, second)

    return sweep(target, most, compute)


def attention(module: PixelAttention, x: Plane) -> Plane:
    """`PixelAttention` over all pixels of the map, with a part of the keys in memory at a time."""
    change, channels = normalised(module.norm, x.moments, silu=False), x.channels
    pairs = x.room.plane(2 * channels, x.height, x.width)  # keys and values

    def keys_and_values(window: Window) -> Tensor:
        h = change(x.read(window))
        return torch.cat([module.key(h), module.value(h)], 1)

    sweep(pairs, 2 * channels, keys_and_values)
    target = x.reused(channels)
    with torch.no_grad():
        for window in cover(x.height, x.width, TOKENS_SIDE):
            here = x.read(window)
            queries = module.query(change(here)).flatten(2)[0].T / math.sqrt(channels)  # (N, C)
            mixed = _attended(queries, pairs).T.reshape(here.shape)
            target.write(window, here + module.out(mixed))
    return target


def _attended(queries: Tensor, pairs: Plane) -> Tensor:
    """softmax(queries keys^T) values, (N, C), by parts: each rescaled to the highest score so far (Rabe and Staats
    2021, "Self-attention does not need O(n^2) memory")."""
    count, channels = queries.shape
    highest = queries.new_full((count, 1), -math.inf)
    total, mixed = queries.new_zeros(count, 1), queries.new_zeros(count, channels)
    for window in cover(pairs.height, pairs.width, TOKENS_SIDE):
        keys, values = pairs.read(window).flatten(2)[0].split(channels)  # (C, M) each
        scores = queries @ keys  # (N, M)
        higher = torch.maximum(highest, scores.amax(1, keepdim=True))
        shares, kept = (scores - higher).exp(), (highest - higher).exp()
        total = total * kept + shares.sum(1, keepdim=True)
        mixed = mixed * kept + shares @ values.T
        highest = higher
    return mixed / total
