"""What a UNet is assembled from: blocks, resolutions, the middle, and the plan that sizes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from latentry.errors import UsageError
from latentry.nn.attention import MapAttention, Signals
from latentry.nn.blocks import Direction, Downsample, ResidualBlock, Upsample
from latentry.nn.transformer import SpatialTransformer


class UNetBlock(nn.Module):
    """A residual block, then an attention or none."""

    def __init__(self, residual: ResidualBlock, attention: MapAttention | SpatialTransformer | None) -> None:
        super().__init__()
        self.residual = residual
        self.attention = attention

    def forward(self, x: Tensor, signals: Signals) -> Tensor:
        x = self.residual(x, signals.time)
        return x if self.attention is None else self.attention(x, signals)


class Resolution(nn.Module):
    """All blocks at one resolution of one side, and the step to the next resolution (None at the last)."""

    def __init__(self, blocks: list[UNetBlock], resample: Downsample | Upsample | ResidualBlock | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.resample = resample


def resolutions(side: nn.ModuleList) -> list[Resolution]:
    """The resolutions of one side, highest first."""
    return [level for level in side if isinstance(level, Resolution)]


class UNetMiddle(nn.Module):
    """Residual block, attention, residual block at the lowest resolution."""

    def __init__(self, first: ResidualBlock, attention: MapAttention | SpatialTransformer, last: ResidualBlock) -> None:
        super().__init__()
        self.first = first
        self.attention = attention
        self.last = last

    def forward(self, x: Tensor, signals: Signals) -> Tensor:
        x = self.attention(self.first(x, signals.time), signals)
        result: Tensor = self.last(x, signals.time)
        return result


def depths_per_level(transformer_depth: int | Sequence[int], levels: int) -> tuple[int, ...]:
    """The transformer depth of each level, from one number or one per level."""
    depths = (transformer_depth,) * levels if isinstance(transformer_depth, int) else tuple(transformer_depth)
    if len(depths) != levels:
        raise UsageError(
            f"transformer_depth: {len(depths)} values for {levels} levels. Give one number, or one per level."
        )
    return depths


@dataclass(frozen=True)
class UNetLayout:
    """The sizes of a UNet's parts; the fields are the arguments of `UNet`."""

    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    heads: int | None
    head_channels: int | None
    depths: tuple[int, ...]
    context_channels: int | None
    scale_shift: bool
    resblock_updown: bool
    norm_groups: int
    dropout: float
    split_heads_first: bool
    norm_epsilon: float
    pad_end: bool

    def __post_init__(self) -> None:
        if self.context_channels is not None and not any(self.depths):
            raise UsageError("context_channels: set, but transformer_depth is 0, so nothing reads it. Give a depth.")

    @property
    def time_channels(self) -> int:
        """Width of the time embedding."""
        return 4 * self.channels

    @property
    def widths(self) -> list[int]:
        """Channels of each level."""
        return [self.channels * multiplier for multiplier in self.multipliers]

    def residual(self, width: int, out: int, resample: Direction | None = None) -> ResidualBlock:
        """A residual block from `width` to `out` channels."""
        return ResidualBlock(
            width,
            out,
            self.time_channels,
            norm_groups=self.norm_groups,
            dropout=self.dropout,
            scale_shift=self.scale_shift,
            resample=resample,
            norm_epsilon=self.norm_epsilon,
        )

    def attend(self, level: int) -> MapAttention | SpatialTransformer:
        """The attention of a level."""
        width, groups = self.widths[level], self.norm_groups
        heads = self.heads or 1
        if self.head_channels is not None:
            if width % self.head_channels:
                raise UsageError(
                    f"head_channels: {self.head_channels} does not divide {width} channels. Change either."
                )
            heads = width // self.head_channels
        if depth := self.depths[level]:
            context = self.context_channels
            return SpatialTransformer(width, heads=heads, depth=depth, context_width=context, norm_groups=groups)
        return MapAttention(
            width,
            heads=heads,
            norm_groups=groups,
            split_heads_first=self.split_heads_first,
            norm_epsilon=self.norm_epsilon,
        )

    def block(self, width: int, level: int) -> UNetBlock:
        """A block of a level, with `width` channels in."""
        attends = 2**level in self.attention
        return UNetBlock(self.residual(width, self.widths[level]), self.attend(level) if attends else None)

    def down(self) -> tuple[nn.ModuleList, list[int]]:
        """The way down, highest resolution first, and the channels of every skip in order of making."""
        width, skips, levels = self.channels, [self.channels], nn.ModuleList()
        for level, out in enumerate(self.widths):
            blocks = []
            for _ in range(self.blocks):
                blocks.append(self.block(width, level))
                width = out
                skips.append(width)
            resample = None
            if level + 1 < len(self.widths):
                resample = (
                    self.residual(width, width, "down")
                    if self.resblock_updown
                    else Downsample(width, pad_end=self.pad_end)
                )
                skips.append(width)
            levels.append(Resolution(blocks, resample))
        return levels, skips

    def middle(self) -> UNetMiddle:
        """The middle."""
        width = self.widths[-1]
        return UNetMiddle(self.residual(width, width), self.attend(-1), self.residual(width, width))

    def up(self, skips: list[int]) -> nn.ModuleList:
        """The way up, highest resolution first although it runs last."""
        width, skips, levels = self.widths[-1], list(skips), nn.ModuleList()
        for level in reversed(range(len(self.widths))):
            blocks = []
            for _ in range(self.blocks + 1):
                blocks.append(self.block(width + skips.pop(), level))
                width = self.widths[level]
            resample = None
            if level > 0:
                resample = self.residual(width, width, "up") if self.resblock_updown else Upsample(width)
            levels.insert(0, Resolution(blocks, resample))
        return levels
