"""The denoiser's network: a UNet that takes the time, and optionally a context, a vector and concatenated channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from latentry.errors import UsageError, did_you_mean
from latentry.nn.attention import Attention, Edit, MapAttention, Signals
from latentry.nn.blocks import norm, zero_module
from latentry.nn.embedding import VectorEmbedding, sinusoids
from latentry.nn.transformer import TransformerBlock
from latentry.nn.unet_parts import UNetLayout, depths_per_level, resolutions


class Deep:
    """What comes up to the blocks of the first resolution, (B, C, h, w); None until an evaluation leaves it."""

    def __init__(self) -> None:
        self.features: Tensor | None = None


class UNet(nn.Module):
    """The time-conditional UNet.

    in_channels, out_channels: of the latent. concat_channels: of what is concatenated to it.
    channels, multipliers: level i is channels * multipliers[i] wide and has 1 / 2^i of the resolution.
    blocks: per level (one more on the way up). attention: downsampling factors that get one; the middle always does.
    heads, head_channels: number or width of the heads; the width wins; neither means one head.
    transformer_depth: 0 is plain self-attention, else blocks of a spatial transformer; one number or one per level.
    context_channels, vector_channels: widths of the conditions; None takes none.
    scale_shift, resblock_updown, dropout, split_heads_first: see `ResidualBlock` and `MapAttention`.
    norm_epsilon, pad_end, sine_first, frequency_shift: as other families of models have them, see `ResidualBlock`,
    `Downsample` and `sinusoids`.
    checkpoint: recompute activations in the backward pass, for less memory.
    Raises UsageError for widths that groups or heads do not divide.
    Source: Rombach et al. 2022; CompVis latent-diffusion.
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
        heads: int | None = None,
        head_channels: int | None = None,
        transformer_depth: int | Sequence[int] = 0,
        context_channels: int | None = None,
        vector_channels: int | None = None,
        concat_channels: int = 0,
        scale_shift: bool = False,
        resblock_updown: bool = False,
        norm_groups: int = 32,
        dropout: float = 0.0,
        split_heads_first: bool = True,
        norm_epsilon: float = 1e-5,
        pad_end: bool = False,
        sine_first: bool = False,
        frequency_shift: int = 0,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.concat_channels = concat_channels
        self.context_channels = context_channels
        self.vector_channels = vector_channels
        self.factor = 2 ** (len(multipliers) - 1)
        self.checkpoint = checkpoint
        self._sinusoids = partial(sinusoids, sine_first=sine_first, frequency_shift=frequency_shift)
        layout = UNetLayout(
            channels=channels,
            multipliers=tuple(multipliers),
            blocks=blocks,
            attention=tuple(attention),
            heads=heads,
            head_channels=head_channels,
            depths=depths_per_level(transformer_depth, len(multipliers)),
            context_channels=context_channels,
            scale_shift=scale_shift,
            resblock_updown=resblock_updown,
            norm_groups=norm_groups,
            dropout=dropout,
            split_heads_first=split_heads_first,
            norm_epsilon=norm_epsilon,
            pad_end=pad_end,
        )
        self._build(layout, out_channels)
        self._name_attentions()

    def _build(self, layout: UNetLayout, out_channels: int) -> None:
        """The modules, in the order in which their first weights are drawn."""
        self.time = VectorEmbedding(self.channels, layout.time_channels)
        width = self.vector_channels
        self.vector = VectorEmbedding(width, layout.time_channels) if width else None
        self.conv_in = nn.Conv2d(self.in_channels + self.concat_channels, self.channels, 3, padding=1)
        self.down, skips = layout.down()
        self.middle = layout.middle()
        self.up = layout.up(skips)
        self.norm_out = norm(layout.widths[0], layout.norm_groups, layout.norm_epsilon)
        self.conv_out = zero_module(nn.Conv2d(layout.widths[0], out_channels, 3, padding=1))

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        *,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        concat: Tensor | None = None,
        vector: Tensor | None = None,
        time_embedding: Tensor | None = None,
        context_kv: Sequence[tuple[Tensor, Tensor]] | None = None,
        edits: Mapping[str, Edit] | None = None,
        deep: Deep | None = None,
    ) -> Tensor:
        """The network's output for noisy latents x (B, c, h, w) at times t (B,).

        context (B, L, D), context_mask (B, L) True where a token takes part, concat (B, C, h, w),
        vector (B, E) or (B, N, E).
        time_embedding: `embed_time(t)` where it is at hand, (B or 1, 4 * channels).
        context_kv: `project_context(context)` where it is at hand.
        edits: changes of attention probabilities by `attention_paths`, for example of prompt-to-prompt.
        deep: features below the first resolution of an evaluation before, used instead of their own where it has them,
        and filled where it is empty (DeepCache, Ma et al. 2024, equation 6).
        Raises UsageError for a missing condition and for sizes that are not multiples of `factor`.
        """
        self._check(x, context is not None or context_kv is not None, concat, vector, edits or ())
        time = self.embed_time(t) if time_embedding is None else time_embedding  # (B or 1, E)
        if self.vector is not None:
            embedded = self.vector(vector)  # (B, E) or (B, N, E)
            time = time + (embedded if embedded.ndim == 2 else embedded.mean(1))
        mask = None if context_mask is None else context_mask.bool()[:, None, None, :]  # (B, 1, 1, L)
        signals = Signals(time, context, mask, context_kv, edits or {})

        h = self.conv_in(x if concat is None else torch.cat([x, concat], dim=1))  # (B, channels, h, w)
        skips = [h]
        kept = None if deep is None else deep.features
        down, up = resolutions(self.down), resolutions(self.up)
        for resolution in down if kept is None else down[:1]:
            for block in resolution.blocks:
                h = self._run(block, h, signals)
                skips.append(h)
            if resolution.resample is not None and kept is None:
                h = self._run(resolution.resample, h, time)
                skips.append(h)
        h = self._run(self.middle, h, signals) if kept is None else kept  # (B, C, h / factor, w / factor)
        for resolution in reversed(up if kept is None else up[:1]):
            if deep is not None and resolution is up[0]:
                deep.features = h.clone()  # (B, C, h, w); a compiled block may use the memory of its output again
            for block in resolution.blocks:
                h = self._run(block, torch.cat([h, skips.pop()], dim=1), signals)
            if resolution.resample is not None:
                h = self._run(resolution.resample, h, time)
        result: Tensor = self.conv_out(F.silu(self.norm_out(h)))  # (B, out_channels, h, w)
        return result

    def embed_time(self, t: Tensor) -> Tensor:
        """Times (N,) -> (N, 4 * channels), the `time_embedding` of `forward`."""
        result: Tensor = self.time(self._sinusoids(t, self.channels).to(self.conv_in.weight.dtype))
        return result

    def project_context(self, context: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of (B, L, D) for every cross-attention in order of use, the `context_kv` of `forward`."""
        return [attention.project(context) for attention in self._cross_attentions()]

    @property
    def attention_paths(self) -> list[str]:
        """The names by which `edits` finds the attentions."""
        return [name for name, module in self.named_modules() if isinstance(module, Attention | MapAttention)]

    @property
    def cross_attention_paths(self) -> list[str]:
        """Of these the ones that attend to the context."""
        return [attention.path for attention in self._cross_attentions()]

    def _run(self, module: Callable[..., Tensor], x: Tensor, *arguments: object) -> Tensor:
        if self.checkpoint and torch.is_grad_enabled():
            result: Tensor = recompute(module, x, *arguments, use_reentrant=False)
            return result
        return module(x, *arguments)

    def _cross_attentions(self) -> Iterator[Attention]:
        for side in (*self.down, self.middle, *reversed(self.up)):
            for module in side.modules():
                if isinstance(module, TransformerBlock) and module.cross_attention is not None:
                    yield module.cross_attention

    def _name_attentions(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, Attention | MapAttention):
                module.path = name
        for order, attention in enumerate(self._cross_attentions()):
            attention.order = order

    def _check(
        self, x: Tensor, context: bool, concat: Tensor | None, vector: Tensor | None, edits: Iterable[str]
    ) -> None:
        height, width = x.shape[2:]
        if height % self.factor or width % self.factor:
            near = [
                [max(1, (n + up) // self.factor) * self.factor for n in (height, width)] for up in (0, self.factor - 1)
            ]
            fit = " or ".join(f"{h}x{w}" for h, w in near)
            raise UsageError(f"UNet: latent of {height}x{width}; both must be multiples of {self.factor}. Use {fit}.")
        _expect("x", self.in_channels, x)
        _expect("concat", self.concat_channels, concat)
        if concat is not None and concat.shape[2:] != x.shape[2:]:
            at = "x".join(map(str, concat.shape[2:]))
            raise UsageError(f"UNet: concat is {at}, the latent {height}x{width}; both must be of one size.")
        _expect("vector", self.vector_channels or 0, vector, axis=-1)
        if context != (self.context_channels is not None):
            takes = f"takes one of {self.context_channels} channels" if self.context_channels else "takes none"
            raise UsageError(f"UNet: {'a' if context else 'no'} context was given; this network {takes}.")
        for path in edits:
            if path not in self.attention_paths:
                raise UsageError(f'UNet: no attention "{path}"{did_you_mean(path, self.attention_paths)}.')


def _expect(name: str, channels: int, tensor: Tensor | None, axis: int = 1) -> None:
    actual = 0 if tensor is None else tensor.shape[axis]
    if actual != channels:
        raise UsageError(f"UNet: {name} has {actual} channels; this network takes {channels}.")
