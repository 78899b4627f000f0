"""Encoder and decoder of the first stage: images to latents at 1/f of their size, and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from latentry.nn.blocks import norm
from latentry.nn.forms.cpu import doubled

EPS = 1e-6


class CoderBlock(nn.Module):
    """Two 3x3 convolutions around a residual, with a 1x1 shortcut where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, groups: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = norm(in_channels, groups, EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = norm(out_channels, groups, EPS)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.shortcut: nn.Module = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))  # (B, out, H, W)
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.shortcut(x) + h


class PixelAttention(nn.Module):
    """One head of self-attention over all pixels of a feature map, around a residual."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = norm(channels, groups, EPS)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)  # (B, C, H, W)
        q, k, v = (f(h).flatten(2).transpose(1, 2).unsqueeze(1) for f in (self.query, self.key, self.value))
        h = F.scaled_dot_product_attention(q, k, v)  # (B, 1, H W, C), scaled by C^-1/2
        h = h.squeeze(1).transpose(1, 2).reshape(x.shape)  # (B, C, H, W)
        return x + self.out(h)


class FoldedConv(nn.Conv2d):
    """A convolution of an image whose patches are folded into channels: (B, C, H, W) -> (B, out, H/patch, W/patch)."""

    def __init__(self, in_channels: int, out_channels: int, patch: int) -> None:
        super().__init__(in_channels * patch**2, out_channels, 3, padding=1)
        self.patch = patch

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x)


class UnfoldedConv(nn.Conv2d):
    """A convolution whose channels are unfolded into patches of an image: (B, in, h, w) -> (B, C, h patch, w patch)."""

    def __init__(self, in_channels: int, out_channels: int, patch: int) -> None:
        super().__init__(in_channels, out_channels * patch**2, 3, padding=1)
        self.patch = patch

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        return F.pixel_shuffle(h, self.patch) if self.patch > 1 else h


class CoderDownsample(nn.Module):
    """Half the size: one row and column of zeros at the right and bottom, then a 3x3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # (B, C, H/2, W/2)


class CoderUpsample(nn.Module):
    """Twice the size: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return doubled(x, self.conv)  # (B, C, 2H, 2W)


class CoderLevel(nn.Module):
    """The blocks of one resolution, each followed by attention if `attention`, then by `resample` if there is one."""

    def __init__(
        self, widths: Sequence[int], groups: int, dropout: float, attention: bool, resample: nn.Module | None
    ) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.blocks = nn.ModuleList(CoderBlock(a, b, groups, dropout) for a, b in pairs)
        self.attentions = nn.ModuleList(PixelAttention(b, groups) for _, b in pairs if attention)
        self.resample = resample if resample is not None else nn.Identity()
        self.checkpoint = False

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.blocks):
            x = _apply(block, x, self.checkpoint and self.training)  # (B, C_level, H, W)
            if len(self.attentions):
                x = _apply(self.attentions[i], x, self.checkpoint and self.training)
        return self.resample(x)


class CoderMiddle(nn.Module):
    """Block, attention (optional), block at the lowest resolution."""

    def __init__(self, channels: int, groups: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.block1 = CoderBlock(channels, channels, groups, dropout)
        self.attention: nn.Module = PixelAttention(channels, groups) if attention else nn.Identity()
        self.block2 = CoderBlock(channels, channels, groups, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.block2(self.attention(self.block1(x)))  # (B, C, h, w)


class Encoder(nn.Module):
    """Images to features at 1/f of their size, f = patch * 2 ** (levels - 1) (Rombach et al. 2022, section 3.1).

    in_channels: of the image. out_channels: of the result (for a KL first stage twice the latent's).
    channels, multipliers: width of level i is channels * multipliers[i], finest first.
    blocks: residual blocks a level. attention: downsample factors (1, 2, 4, ...) whose levels have attention.
    patch: the image's squares of this side are folded into channels first, so the finest level is 1/patch of its size.
    middle_attention: attention at the lowest resolution. norm_groups: must divide every width.
    dropout: 0 to 1, inside blocks. checkpoint: recompute blocks in the backward pass to save memory.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        channels: int,
        multipliers: Sequence[int],
        blocks: int = 2,
        attention: Sequence[int] = (),
        middle_attention: bool = True,
        norm_groups: int = 32,
        dropout: float = 0.0,
        patch: int = 1,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.conv_in = FoldedConv(in_channels, channels, patch)
        self.levels = nn.ModuleList()
        width, last = channels, len(multipliers) - 1
        for i, multiplier in enumerate(multipliers):
            widths = [width] + [channels * multiplier] * blocks
            width = widths[-1]
            resample = CoderDownsample(width) if i < last else None
            self.levels.append(CoderLevel(widths, norm_groups, dropout, patch * 2**i in attention, resample))
        self.middle = CoderMiddle(width, norm_groups, dropout, middle_attention)
        self.norm_out = norm(width, norm_groups, EPS)
        self.conv_out = nn.Conv2d(width, out_channels, 3, padding=1)
        _set_checkpoint(self, checkpoint)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)  # (B, channels, H/patch, W/patch)
        for level in self.levels:
            h = level(h)
        h = self.middle(h)  # (B, C, H/f, W/f)
        return self.conv_out(F.silu(self.norm_out(h)))  # (B, out, H/f, W/f)


class Decoder(nn.Module):
    """Latents to images f = patch * 2 ** (levels - 1) times their size (Rombach et al. 2022, section 3.1).

    in_channels: of the latent. out_channels: of the image. Others as for `Encoder`; a level has blocks + 1 blocks, and
    `levels` is in the same order (finest first). `features` is all but the last convolution, so that the
    adaptive weight of the adversarial loss can take gradients at `conv_out.weight` without the rest of the graph.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        channels: int,
        multipliers: Sequence[int],
        blocks: int = 2,
        attention: Sequence[int] = (),
        middle_attention: bool = True,
        norm_groups: int = 32,
        dropout: float = 0.0,
        patch: int = 1,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        width = channels * multipliers[-1]
        self.conv_in = nn.Conv2d(in_channels, width, 3, padding=1)
        self.middle = CoderMiddle(width, norm_groups, dropout, middle_attention)
        levels = []
        for i, multiplier in reversed(list(enumerate(multipliers))):
            widths = [width] + [channels * multiplier] * (blocks + 1)
            width = widths[-1]
            levels.append(
                CoderLevel(widths, norm_groups, dropout, patch * 2**i in attention, CoderUpsample(width) if i else None)
            )
        self.levels = nn.ModuleList(reversed(levels))
        self.norm_out = norm(width, norm_groups, EPS)
        self.conv_out = UnfoldedConv(width, out_channels, patch)
        _set_checkpoint(self, checkpoint)

    def features(self, z: Tensor) -> Tensor:
        """What `conv_out` is applied to, (B, channels * multipliers[0], H/patch, W/patch)."""
        h = self.middle(self.conv_in(z))  # (B, C, h, w)
        for level in reversed(self.levels):
            h = level(h)
        return F.silu(self.norm_out(h))

    def forward(self, z: Tensor) -> Tensor:
        return self.conv_out(self.features(z))  # (B, out, H, W)


def _apply(module: nn.Module, x: Tensor, recompute: bool) -> Tensor:
    result: Tensor = checkpoint(module, x, use_reentrant=False) if recompute else module(x)
    return result


def _set_checkpoint(module: nn.Module, value: bool) -> None:
    for child in module.modules():
        if isinstance(child, CoderLevel):
            child.checkpoint = value
