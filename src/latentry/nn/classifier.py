"""The network of a classifier of noisy latents: the half of the UNet that goes down, then a pooled map."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from latentry.nn.attention import Attention, Signals, to_tokens
from latentry.nn.blocks import norm, zero_module
from latentry.nn.embedding import VectorEmbedding, sinusoids
from latentry.nn.unet_parts import UNetLayout, resolutions


class AttentionPool(nn.Module):
    """A map as one vector: its mean looks at all of its pixels and at itself.

    No place is embedded, so that maps of any size are pooled.
    Source: Dhariwal and Nichol 2021, section 4.1, after the pooling of CLIP.
    """

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.attention = Attention(channels, heads=heads, head_width=channels // heads)

    def forward(self, x: Tensor) -> Tensor:
        pixels = to_tokens(x)  # (B, HW, C)
        mean = pixels.mean(1, keepdim=True)  # (B, 1, C)
        kv = self.attention.project(torch.cat([mean, pixels], dim=1))
        result: Tensor = self.attention(mean, kv)[:, 0]  # (B, C)
        return result


class NoisyClassifier(nn.Module):
    """Logits of classes for noisy latents at a time: residual blocks with attention on the way down, then a pool.

    in_channels: of the latent. classes: how many. pool: `attention` or `mean`, over the pixels of the last map.
    The others are those of `UNet`. With its first weights every class has the same logit.
    Raises UsageError for widths that groups or heads do not divide.
    Source: Dhariwal and Nichol 2021, section 4.1; Rombach et al. 2022, appendix C.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        channels: int,
        multipliers: Sequence[int],
        blocks: int = 2,
        attention: Sequence[int] = (),
        head_channels: int | None = None,
        scale_shift: bool = True,
        norm_groups: int = 32,
        dropout: float = 0.0,
        pool: str = "attention",
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.checkpoint = channels, checkpoint
        layout = UNetLayout(
            channels=channels,
            multipliers=tuple(multipliers),
            blocks=blocks,
            attention=tuple(attention),
            heads=None,
            head_channels=head_channels,
            depths=(0,) * len(multipliers),
            context_channels=None,
            scale_shift=scale_shift,
            resblock_updown=False,
            norm_groups=norm_groups,
            dropout=dropout,
            split_heads_first=True,
            norm_epsilon=1e-5,
            pad_end=False,
        )
        width = layout.widths[-1]
        self.time = VectorEmbedding(channels, layout.time_channels)
        self.conv_in = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.down, _ = layout.down()
        self.middle = layout.middle()
        self.norm_out = norm(width, norm_groups)
        self.pool = AttentionPool(width, heads=width // (head_channels or width)) if pool == "attention" else None
        self.out = zero_module(nn.Linear(width, classes))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits (B, classes) of noisy latents x (B, c, h, w), of any size, at times t (B,)."""
        time = self.time(sinusoids(t, self.channels).to(self.conv_in.weight.dtype))  # (B, 4 * channels)
        signals = Signals(time)
        h = self.conv_in(x)  # (B, channels, h, w)
        for resolution in resolutions(self.down):
            for block in resolution.blocks:
                h = self._run(block, h, signals)
            if resolution.resample is not None:
                h = self._run(resolution.resample, h, time)
        h = F.silu(self.norm_out(self._run(self.middle, h, signals)))  # (B, C, h / factor, w / factor)
        pooled = h.mean((2, 3)) if self.pool is None else self.pool(h)  # (B, C)
        logits: Tensor = self.out(pooled)
        return logits

    def _run(self, module: Callable[..., Tensor], x: Tensor, *arguments: object) -> Tensor:
        if self.checkpoint and torch.is_grad_enabled():
            result: Tensor = recompute(module, x, *arguments, use_reentrant=False)
            return result
        return module(x, *arguments)
