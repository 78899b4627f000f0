"""Pieces that the networks share: group norm, zeroed layers, residual blocks, resampling."""

from __future__ import annotations

from typing import Literal, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from latentry.errors import UsageError
from latentry.nn.forms.cpu import doubled

Module = TypeVar("Module", bound=nn.Module)
Direction = Literal["down", "up"]


def norm(channels: int, groups: int, eps: float = 1e-5) -> nn.GroupNorm:
    """Group normalisation over `groups` groups of channels.

    Raises UsageError where `groups` does not divide `channels`.
    """
    if groups < 1 or channels % groups:
        fit = ", ".join(str(g) for g in range(1, min(channels, 64) + 1) if channels % g == 0)
        raise UsageError(f"norm_groups: {groups} does not divide {channels} channels; {fit} do. Change either of them.")
    return nn.GroupNorm(groups, channels, eps=eps)


def zero_module(module: Module) -> Module:
    """The same module with all parameters set to zero, so that a residual branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def halve(x: Tensor) -> Tensor:
    """Mean of each 2x2 square: (B, C, H, W) -> (B, C, H/2, W/2)."""
    return F.avg_pool2d(x, 2)


def double(x: Tensor) -> Tensor:
    """Each pixel four times: (B, C, H, W) -> (B, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Downsample(nn.Module):
    """Halve height and width by a 3x3 convolution with stride 2.

    pad_end: zeros are put to the right and below alone, and not all around.
    It takes a time embedding and ignores it, so that a residual block can stand in its place.
    """

    def __init__(self, channels: int, *, pad_end: bool = False) -> None:
        super().__init__()
        self.pad_end = pad_end
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=0 if pad_end else 1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        result: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.pad_end else x)  # (B, C, H/2, W/2)
        return result


class Upsample(nn.Module):
    """Double height and width by nearest neighbours, then a 3x3 convolution.

    It takes a time embedding and ignores it, so that a residual block can stand in its place.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        return doubled(x, self.conv)  # (B, C, 2H, 2W)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip around them, conditioned on the time between them.

    in_channels, out_channels: widths before and after.
    time_channels: width of the time embedding.
    scale_shift: the time embedding scales and shifts the second norm's result, instead of being added before it.
    resample: halve ("down") or double ("up") both branches after the first norm.
    norm_epsilon: added to the variance in both normalisations.
    Source: CompVis latent-diffusion, after Dhariwal and Nichol 2021.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        time_channels: int,
        *,
        norm_groups: int = 32,
        dropout: float = 0.0,
        scale_shift: bool = False,
        resample: Direction | None = None,
        norm_epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.resample = {"down": halve, "up": double}[resample] if resample else None
        self.norm_in = norm(in_channels, norm_groups, norm_epsilon)
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(time_channels, 2 * out_channels if scale_shift else out_channels)
        self.norm_out = norm(out_channels, norm_groups, norm_epsilon)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = zero_module(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (B, C, H, W) and time (B or 1, E) -> (B, C', H', W')."""
        h = F.silu(self.norm_in(x))  # (B, C, H, W)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)  # (B, C, H', W')
        h = self.conv_in(h)  # (B, C', H', W')
        modulation = self.time(F.silu(time))[:, :, None, None]  # (B, C' or 2C', 1, 1)
        if self.scale_shift:
            scale, shift = modulation.chunk(2, dim=1)
            h = self.norm_out(h) * (1 + scale) + shift
        else:
            h = self.norm_out(h + modulation)
        h = self.conv_out(self.dropout(F.silu(h)))  # (B, C', H', W')
        result: Tensor = self.skip(x) + h
        return result
