"""The denoiser's network: our UNet as diffusers' UNet2DModel (no context) and UNet2DConditionModel, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentry.checkpoints.diffusers.settings import Keys, attending, multipliers, refused, unheld, widths
from latentry.checkpoints.diffusers.unet_names import deepest
from latentry.models.config import UNetOptions
from latentry.nn.unet_parts import depths_per_level

SHARED: dict[str, Any] = {
    "sample_size": None, "in_channels": 4, "out_channels": 4, "down_block_types": (), "up_block_types": (),
    "block_out_channels": (), "layers_per_block": 2, "dropout": 0.0, "norm_num_groups": 32, "attention_head_dim": 8,
    "resnet_time_scale_shift": "default", "norm_eps": 1e-5, "downsample_padding": 1, "flip_sin_to_cos": True,
    "freq_shift": 0,
}  # fmt: skip
FIXED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,), "mid_block_scale_factor": (1,), "act_fn": ("silu", "swish"),
    "time_embedding_type": ("positional",), "time_embedding_dim": (None,), "num_class_embeds": (None,),
}  # fmt: skip
PLAIN = Keys(
    "UNet2DModel",
    read={**SHARED, "downsample_type": "conv", "upsample_type": "conv", "attn_norm_num_groups": None},
    fixed={
        **FIXED,
        "mid_block_type": ("UNetMidBlock2D",),
        "add_attention": (True,),
        "class_embed_type": (None,),
    },
    unused={"num_train_timesteps"},
)
CONTEXT = Keys(
    "UNet2DConditionModel",
    read={
        **SHARED, "cross_attention_dim": 1280, "transformer_layers_per_block": 1, "class_embed_type": None,
        "projection_class_embeddings_input_dim": None,
    },
    fixed={
        **FIXED, "mid_block_type": ("UNetMidBlock2DCrossAttn",), "only_cross_attention": (False,),
        "reverse_transformer_layers_per_block": (None,), "encoder_hid_dim": (None,), "encoder_hid_dim_type": (None,),
        "num_attention_heads": (None,), "dual_cross_attention": (False,), "use_linear_projection": (False,),
        "addition_embed_type": (None,), "resnet_skip_time_act": (False,), "resnet_out_scale_factor": (1.0,),
        "time_embedding_act_fn": (None,), "timestep_post_act": (None,), "time_cond_proj_dim": (None,),
        "conv_in_kernel": (3,), "conv_out_kernel": (3,), "attention_type": ("default",),
        "class_embeddings_concat": (False,), "mid_block_only_cross_attention": (None, False),
        "cross_attention_norm": (None,),
    },
    unused={
        "upcast_attention", "addition_embed_type_num_heads", "addition_time_embed_dim",
    },
)  # fmt: skip
CLASSES = {keys.name: keys for keys in (PLAIN, CONTEXT)}
ALONE = ""
SILENT = 1
"""Width of a context that says nothing."""


def to_config(
    options: UNetOptions,
    *,
    latent: int,
    concat: int,
    context: int | None,
    size: int | tuple[int, int],
    vector: int | None = None,
    silent: bool = False,
) -> dict[str, Any]:
    """The config.json of a UNet.

    latent, concat, context: channels of the latent, of what is concatenated to it, and of the context (None: none).
    size: `sample_size`. vector: width of a vector added to the time embedding. silent: transformers without a context
    get one that says nothing (`unet_names.silenced`). Raises UsageError for what neither class can be.
    """
    o = options
    transformer = bool(deepest(o))
    if transformer and context is None and silent:
        context = SILENT
    _check_depths(o, context)
    if vector and not transformer:
        why = "UNet2DModel has no vector beside the time, UNet2DConditionModel no attention without transformers"
        raise unheld(f"a vector of {vector} with unet.transformer_depth 0", why, ALONE)
    levels = range(len(o.multipliers))
    attends = [2**level in o.attention for level in levels]
    rest = "Resnet{}sampleBlock2D" if o.resblock_updown else "{}Block2D"
    name = "CrossAttn{}Block2D" if transformer else "Attn{}Block2D"
    values = {
        "sample_size": size,
        "in_channels": latent + concat,
        "out_channels": latent,
        "down_block_types": tuple((name if attend else rest).format("Down") for attend in attends),
        "up_block_types": tuple((name if attend else rest).format("Up") for attend in reversed(attends)),
        "block_out_channels": widths(o.channels, o.multipliers, "unet"),
        "layers_per_block": o.blocks,
        "dropout": o.dropout,
        "norm_num_groups": o.norm_groups,
        "resnet_time_scale_shift": "scale_shift" if o.scale_shift else "default",
        "norm_eps": o.norm_epsilon,
        "downsample_padding": 0 if o.pad_end else 1,
        "flip_sin_to_cos": not o.sine_first,
        "freq_shift": o.frequency_shift,
    }
    if transformer:
        depth: dict[str, Any] = {"transformer_layers_per_block": o.transformer_depth, "cross_attention_dim": context}
        depth |= {"class_embed_type": "projection"} if vector else {"class_embed_type": None}
        depth |= {"projection_class_embeddings_input_dim": vector}
        return CONTEXT.config({**values, **depth, "attention_head_dim": _heads(o)})
    kind = "resnet" if o.resblock_updown else "conv"
    resample = {"downsample_type": kind, "upsample_type": kind}
    groups = {"attn_norm_num_groups": o.norm_groups if o.scale_shift else None}
    return PLAIN.config({**values, **resample, **groups, "attention_head_dim": _head_channels(o)})


def from_config(config: Mapping[str, Any], where: str) -> tuple[UNetOptions, dict[str, Any]]:
    """Our options, and the settings they came from. Raises UsageError for what our network cannot be."""
    keys = CLASSES[config["_class_name"]]
    s = keys.settings(config, where)
    updown = s.get("downsample_type") == "resnet" or "ResnetDownsampleBlock2D" in s["down_block_types"]
    cross = "Cross" if keys is CONTEXT else ""
    rest = "Resnet{}sampleBlock2D" if updown else "{}Block2D"
    down, up = (
        attending(s[key][:: 1 if side == "Down" else -1], rest.format(side), f"{cross}Attn{side}Block2D", where, key)
        for key, side in (("down_block_types", "Down"), ("up_block_types", "Up"))
    )
    if down != up:
        raise refused(where, f"attention at factors {down} down and {up} up", "ours are the same on both sides")
    shift = s["resnet_time_scale_shift"]
    if shift not in ("default", "scale_shift"):
        raise refused(where, f"resnet_time_scale_shift {shift!r}", "known: 'default', 'scale_shift'")
    if not isinstance(s["layers_per_block"], int):
        raise refused(where, f"layers_per_block {s['layers_per_block']}", "ours are as many at every level")
    options = {
        **multipliers(s["block_out_channels"], where),
        "blocks": s["layers_per_block"],
        "attention": down,
        "scale_shift": shift == "scale_shift",
        "resblock_updown": updown,
        "norm_groups": s["norm_num_groups"],
        "dropout": s["dropout"],
        **_details(s, where),
        **(_transformer(s, down, where) if keys is CONTEXT else _maps(s, updown, where)),
    }
    return UNetOptions.model_validate(options), s


def _details(s: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What families of models have otherwise: of the time embedding, the normalisations and the steps down."""
    for key in ("downsample_padding", "freq_shift"):
        if s[key] not in (0, 1):
            raise refused(where, f"{key} {s[key]!r}", "our networks take only 0 or 1")
    return {
        "norm_epsilon": s["norm_eps"],
        "pad_end": s["downsample_padding"] == 0,
        "sine_first": not s["flip_sin_to_cos"],
        "frequency_shift": int(s["freq_shift"]),
    }


def _check_depths(o: UNetOptions, context: int | None) -> None:
    levels = len(o.multipliers)
    depths = depths_per_level(o.transformer_depth, levels)
    attending_depths = {depths[level] for level in range(levels) if 2**level in o.attention} | {depths[-1]}
    what = f"unet.transformer_depth {o.transformer_depth}"
    if any(depths) and context is None:
        raise unheld(f"{what} without a context", "UNet2DConditionModel always has one, UNet2DModel no depth", ALONE)
    if any(depths) and 0 in attending_depths:
        raise unheld(what, "plain attention beside transformers is not in either UNet", ALONE)
    if any(depths) and o.resblock_updown:
        raise unheld("unet.resblock_updown with a context", "CrossAttnDownBlock2D has convolutions there", ALONE)


def _head_channels(o: UNetOptions) -> int | None:
    """UNet2DModel's `attention_head_dim`: the width of every head, or None for one head."""
    if o.head_channels is not None or o.heads == 1:
        return o.head_channels
    levels = range(len(o.multipliers))
    wide = {o.channels * o.multipliers[level] for level in levels if 2**level in o.attention}
    wide.add(o.channels * o.multipliers[-1])
    if len(wide) > 1:
        raise unheld(
            f"unet.heads {o.heads} at {', '.join(map(str, sorted(wide)))} channels",
            "UNet2DModel's attention_head_dim is one width of all heads",
            ALONE,
        )
    return wide.pop() // (o.heads or 1)


def _heads(o: UNetOptions) -> int | tuple[int, ...]:
    """UNet2DConditionModel's `attention_head_dim`, which is the number of heads: one, or one a level."""
    if o.head_channels is None:
        return o.heads or 1
    return tuple(max(1, o.channels * multiplier // o.head_channels) for multiplier in o.multipliers)


def _transformer(s: dict[str, Any], attention: tuple[int, ...], where: str) -> dict[str, Any]:
    if s["attention_head_dim"] is None or not isinstance(s["cross_attention_dim"], int):
        what = f"attention_head_dim {s['attention_head_dim']}, cross_attention_dim {s['cross_attention_dim']}"
        raise refused(where, what, "known: one number, or one number of heads per level")
    options = {"transformer_depth": s["transformer_layers_per_block"], "context_channels": s["cross_attention_dim"]}
    if s["class_embed_type"] not in (None, "projection"):
        raise refused(where, f"class_embed_type {s['class_embed_type']!r}", "known: None, 'projection'")
    heads = s["attention_head_dim"]
    if isinstance(heads, int):
        return {**options, "heads": heads}
    channels = s["block_out_channels"]
    used = [level for level in range(len(channels)) if 2**level in attention or level == len(channels) - 1]
    sizes = {channels[level] // heads[level] for level in used}
    if len(sizes) == 1:
        return {**options, "head_channels": sizes.pop()}
    if len({heads[level] for level in used}) == 1:
        return {**options, "heads": heads[-1]}
    raise refused(
        where, f"attention_head_dim {list(heads)}", "ours have the same number, or the same width, at every level"
    )


def _maps(s: dict[str, Any], updown: bool, where: str) -> dict[str, Any]:
    for key in ("downsample_type", "upsample_type"):
        if s[key] != ("resnet" if updown else "conv"):
            raise refused(where, f"{key} {s[key]!r}", "ours is the same kind at every level, down and up")
    groups = s["attn_norm_num_groups"] or (None if s["resnet_time_scale_shift"] != "default" else s["norm_num_groups"])
    if groups != s["norm_num_groups"]:
        what = f"attn_norm_num_groups {s['attn_norm_num_groups']} with resnet_time_scale_shift"
        raise refused(where, what, "ours is normalised by norm_num_groups")
    heads = {"heads": 1} if s["attention_head_dim"] is None else {"head_channels": s["attention_head_dim"]}
    return {"transformer_depth": 0, **heads}
