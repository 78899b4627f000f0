"""Our parameter names and the published ones, one to one, for the UNet and the conditioning stages.

No tensor changes shape or order on the way: a name is all there is to translate. UNet names go without the prefix
`model.diffusion_model.`, those of conditioning stages without `cond_stage_model.`. Source: CompVis latent-diffusion;
the vector embedding, which it lacks, is named as in its successors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from latentry.nn.unet_parts import depths_per_level

Names = dict[str, str]


def _with_bias(modules: Names) -> Names:
    return {f"{ours}.{end}": f"{theirs}.{end}" for ours, theirs in modules.items() for end in ("weight", "bias")}


def _inside(ours: str, theirs: str, names: Names) -> Names:
    return {f"{ours}.{a}": f"{theirs}.{b}" for a, b in names.items()}


ENDS = _with_bias({
    "time.0": "time_embed.0", "time.2": "time_embed.2", "conv_in": "input_blocks.0.0", "norm_out": "out.0",
    "conv_out": "out.2",
})  # fmt: skip
VECTOR = _with_bias({"vector.0": "label_emb.0.0", "vector.2": "label_emb.0.2"})
RESIDUAL = _with_bias({
    "norm_in": "in_layers.0", "conv_in": "in_layers.2", "time": "emb_layers.1", "norm_out": "out_layers.0",
    "conv_out": "out_layers.3",
})  # fmt: skip
SKIP = _with_bias({"skip": "skip_connection"})
DOWNSAMPLE = _with_bias({"conv": "op"})
UPSAMPLE = _with_bias({"conv": "conv"})
MAP_ATTENTION = _with_bias({"norm": "norm", "qkv": "qkv", "proj_out": "proj_out"})
TRANSFORMER = _with_bias({"norm": "norm", "proj_in": "proj_in", "proj_out": "proj_out"})
PROJECTIONS = {"query.weight": "to_q.weight", "key.weight": "to_k.weight", "value.weight": "to_v.weight"}
ATTENTION = PROJECTIONS | _with_bias({"out": "to_out.0"})
SELF = _with_bias({"norm_self": "norm1"}) | _inside("self_attention", "attn1", ATTENTION)
CROSS = _with_bias({"norm_cross": "norm2"}) | _inside("cross_attention", "attn2", ATTENTION)
FEED_FORWARD = _with_bias({
    "norm_feed_forward": "norm3", "feed_forward.expand": "ff.net.0.proj", "feed_forward.reduce": "ff.net.2",
})  # fmt: skip

CLASS_NAMES = {"embedding.weight": "embedding.weight"}
TEXT_ENDS = _with_bias({"norm": "transformer.norm"}) | {
    "token.weight": "transformer.token_emb.weight",
    "position.weight": "transformer.pos_emb.emb.weight",
}
TEXT_ATTENTION = PROJECTIONS | _with_bias({"out": "to_out"})
TEXT_FEED_FORWARD = _with_bias({"expand": "net.0.0", "reduce": "net.2"})
TEXT_UNUSED = ("transformer.to_logits.weight", "transformer.to_logits.bias")
"""Published text encoders carry these, (vocabulary, width) and (vocabulary,); nothing reads them."""


class _Layout(NamedTuple):
    """What of a UNet's arguments decides its parameters' names."""

    widths: list[int]
    channels: int
    blocks: int
    attention: Sequence[int]
    depths: tuple[int, ...]
    crosses: bool
    resblock_updown: bool

    def attends(self, level: int) -> bool:
        return 2**level in self.attention

    def attend(self, ours: str, theirs: str, level: int) -> Names:
        if not self.depths[level]:
            return _inside(ours, theirs, MAP_ATTENTION)
        names = _inside(ours, theirs, TRANSFORMER)
        block = SELF | FEED_FORWARD | (CROSS if self.crosses else {})
        for i in range(self.depths[level]):
            names |= _inside(f"{ours}.blocks.{i}", f"{theirs}.transformer_blocks.{i}", block)
        return names

    def stage(self, ours: str, theirs: str, level: int, width: int) -> Names:
        residual = RESIDUAL | (SKIP if width != self.widths[level] else {})
        names = _inside(f"{ours}.residual", f"{theirs}.0", residual)
        if self.attends(level):
            names |= self.attend(f"{ours}.attention", f"{theirs}.1", level)
        return names

    def down(self) -> Iterator[Names]:
        width, entry = self.channels, 1
        for level, out in enumerate(self.widths):
            for block in range(self.blocks):
                yield self.stage(f"down.{level}.blocks.{block}", f"input_blocks.{entry}", level, width)
                width, entry = out, entry + 1
            if level + 1 < len(self.widths):
                names = RESIDUAL if self.resblock_updown else DOWNSAMPLE
                yield _inside(f"down.{level}.resample", f"input_blocks.{entry}.0", names)
                entry += 1

    def skips(self) -> list[int]:
        """Channels of every skip connection in order of making: conv_in's, then each entry's of the way down."""
        made = [self.channels]
        for level, width in enumerate(self.widths):
            made += [width] * (self.blocks + (level + 1 < len(self.widths)))
        return made

    def middle(self) -> Names:
        first, last = (_inside(f"middle.{a}", f"middle_block.{b}", RESIDUAL) for a, b in (("first", 0), ("last", 2)))
        return first | self.attend("middle.attention", "middle_block.1", -1) | last

    def up(self) -> Iterator[Names]:
        width, entry, skips = self.widths[-1], 0, self.skips()
        for level in reversed(range(len(self.widths))):
            for block in range(self.blocks + 1):
                ours, theirs = f"up.{level}.blocks.{block}", f"output_blocks.{entry}"
                yield self.stage(ours, theirs, level, width + skips.pop())
                width, entry = self.widths[level], entry + 1
            if level > 0:
                resample = f"output_blocks.{entry - 1}.{2 if self.attends(level) else 1}"
                yield _inside(f"up.{level}.resample", resample, RESIDUAL if self.resblock_updown else UPSAMPLE)


def unet_names(
    *,
    channels: int,
    multipliers: Sequence[int],
    blocks: int = 2,
    attention: Sequence[int] = (),
    transformer_depth: int | Sequence[int] = 0,
    context_channels: int | None = None,
    vector_channels: int | None = None,
    resblock_updown: bool = False,
    **_: object,
) -> Names:
    """Our name to published name of every parameter of `UNet` with these arguments; its others change no name."""
    layout = _Layout(
        widths=[channels * multiplier for multiplier in multipliers],
        channels=channels,
        blocks=blocks,
        attention=attention,
        depths=depths_per_level(transformer_depth, len(multipliers)),
        crosses=context_channels is not None,
        resblock_updown=resblock_updown,
    )
    names = ENDS | (VECTOR if vector_channels else {})
    for part in (*layout.down(), layout.middle(), *layout.up()):
        names |= part
    return names


def text_names(layers: int) -> Names:
    """Our name to published name of every parameter of `TextTransformer` with that many layers."""
    names = dict(TEXT_ENDS)
    for i in range(layers):
        ours, theirs = f"layers.{i}", "transformer.attn_layers.layers"
        names |= _with_bias({f"{ours}.norm_attention": f"{theirs}.{2 * i}.0"})
        names |= _inside(f"{ours}.attention", f"{theirs}.{2 * i}.1", TEXT_ATTENTION)
        names |= _with_bias({f"{ours}.norm_feed_forward": f"{theirs}.{2 * i + 1}.0"})
        names |= _inside(f"{ours}.feed_forward", f"{theirs}.{2 * i + 1}.1", TEXT_FEED_FORWARD)
    return names


def ema_name(published: str) -> str:
    """The state-dict key of the moving average of the UNet parameter with this published name."""
    return "model_ema." + f"diffusion_model.{published}".replace(".", "")
