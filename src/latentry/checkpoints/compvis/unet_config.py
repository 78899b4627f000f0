"""The published configs, read as arguments of our networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentry.errors import UsageError, did_you_mean

RENAMED = {
    "in_channels": "in_channels",
    "out_channels": "out_channels",
    "model_channels": "channels",
    "channel_mult": "multipliers",
    "num_res_blocks": "blocks",
    "attention_resolutions": "attention",
    "dropout": "dropout",
    "use_scale_shift_norm": "scale_shift",
    "resblock_updown": "resblock_updown",
    "use_checkpoint": "checkpoint",
}
UNSET = -1  # how the published configs spell a missing number of heads
READ = {
    *RENAMED, "num_heads", "num_head_channels", "use_new_attention_order", "use_spatial_transformer",
    "transformer_depth", "context_dim",
}  # fmt: skip
WITHOUT_EFFECT = {"image_size", "legacy", "num_heads_upsample", "use_fp16", "n_embed"}
FIXED = {"conv_resample": True, "dims": 2, "num_classes": None}
"""What our networks can be only one way; every published config agrees."""


def unet_arguments(params: Mapping[str, Any], concat_channels: int = 0) -> dict[str, Any]:
    """The arguments of `UNet` that a published `unet_config.params` describes.

    concat_channels: how many of its `in_channels` are a concatenated condition, which the model's config says.
    Raises UsageError for unknown keys and for what no published config uses.
    """
    where = "unet_config.params"
    accepted = READ | WITHOUT_EFFECT | set(FIXED)
    for key, value in params.items():
        if key not in accepted:
            raise UsageError(
                f'{where}: unknown key "{key}"{did_you_mean(key, accepted)}. Known: {", ".join(sorted(accepted))}.'
            )
        if key in FIXED and value != FIXED[key]:
            raise UsageError(f"{where}.{key}: {value}; only {FIXED[key]} is supported, as all published configs have.")
    if missing := [
        key for key in ("in_channels", "out_channels", "model_channels", "num_res_blocks") if key not in params
    ]:
        raise UsageError(f"{where}: {', '.join(missing)} missing. Every published config gives them.")
    arguments = {ours: params[theirs] for theirs, ours in RENAMED.items() if theirs in params}
    arguments["in_channels"] -= concat_channels
    arguments["concat_channels"] = concat_channels
    arguments["multipliers"] = tuple(params.get("channel_mult", (1, 2, 4, 8)))
    arguments["attention"] = tuple(params.get("attention_resolutions", ()))
    arguments["split_heads_first"] = not params.get("use_new_attention_order", False)
    for theirs, ours in (("num_heads", "heads"), ("num_head_channels", "head_channels")):
        number = params.get(theirs, UNSET)
        arguments[ours] = None if number == UNSET else number
    if params.get("use_spatial_transformer", False):
        arguments["transformer_depth"] = params.get("transformer_depth", 1)
        arguments["context_channels"] = params.get("context_dim")
    return arguments
