"""First stages: our `kl` and `vq` as diffusers' AutoencoderKL and VQModel, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentry.checkpoints.diffusers.names import Names, inside, modules
from latentry.checkpoints.diffusers.settings import Keys, attending, multipliers, refused, unheld, widths
from latentry.models.config import AutoencoderOptions

DOWN, UP = ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"), ("UpDecoderBlock2D", "AttnUpDecoderBlock2D")
SHARED = {
    "in_channels": 3, "out_channels": 3, "down_block_types": (DOWN[0],), "up_block_types": (UP[0],),
    "block_out_channels": (64,), "layers_per_block": 1, "norm_num_groups": 32, "sample_size": 32,
    "mid_block_add_attention": True,
}  # fmt: skip
KL = Keys(
    "AutoencoderKL",
    read={**SHARED, "latent_channels": 4, "scaling_factor": 0.18215},
    fixed={
        "act_fn": ("silu",),
        "shift_factor": (None, 0.0),
        "latents_mean": (None,),
        "latents_std": (None,),
        "use_quant_conv": (True,),
        "use_post_quant_conv": (True,),
    },
    unused={"force_upcast"},
)
# The published VQ models have no scaling_factor and were trained with 1; diffusers' default there, 0.18215, is a known
# fault of it (its issue 6725).
VQ = Keys(
    "VQModel",
    read={**SHARED, "latent_channels": 3, "scaling_factor": 1.0, "num_vq_embeddings": 256, "vq_embed_dim": None},
    fixed={"act_fn": ("silu",), "norm_type": ("group",), "lookup_from_codebook": (False,)},
    unused={"force_upcast"},
)
CLASSES = {keys.name: keys for keys in (KL, VQ)}

BLOCK = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}
ENDS = {"conv_in": "conv_in", "norm_out": "conv_norm_out", "conv_out": "conv_out"}
MIDDLE = [
    *inside("block1", "resnets.0", modules(BLOCK)),
    *inside("attention", "attentions.0", modules(ATTENTION)),
    *inside("block2", "resnets.1", modules(BLOCK)),
]
SQUARE = re.compile(r".*\.attentions?\.(\d+\.)?(query|key|value|out)\.weight")
BUFFERS = ("latent_scale", "latent_shift")


def names(levels: int) -> Names:
    """Our names, without the two buffers of the latent's scale, and diffusers'."""
    pairs = modules({"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"})
    pairs.append(("quantiser.codebook", "quantize.embedding.weight"))
    for side, level, blocks, resample in (
        ("encoder", "#", "down_blocks", "downsamplers"),
        ("decoder", "~", "up_blocks", "upsamplers"),
    ):
        one = [
            *inside("blocks.#", "resnets.#", modules(BLOCK)),
            *inside("attentions.#", "attentions.#", modules(ATTENTION)),
            ("resample.conv.*", f"{resample}.0.conv.*"),
        ]
        part = [*modules(ENDS), *inside(f"levels.{level}", f"{blocks}.{level}", one)]
        pairs += inside(side, side, [*part, *inside("middle", "mid_block", MIDDLE)])
    return Names(pairs, levels)


def to_theirs(tensors: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    """Our weights as diffusers': the attentions' 1x1 convolutions become linear."""
    shaped = {k: t.flatten(1) if SQUARE.fullmatch(k) else t for k, t in tensors.items() if k not in BUFFERS}
    return names(levels).to_theirs(shaped)


def to_ours(tensors: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    """Diffusers' weights as ours, without the two buffers."""
    named = names(levels).to_ours(tensors)
    return {k: t[:, :, None, None] if SQUARE.fullmatch(k) and t.ndim == 2 else t for k, t in named.items()}


def to_config(
    options: AutoencoderOptions, image_channels: int, size: tuple[int, int], scale: float, *, folded: bool = False
) -> dict[str, Any]:
    """The config.json of a first stage. Raises UsageError for what its class cannot be.

    folded: the images that it is fed and that it gives are folded into patches already (`pixel_unshuffle`).
    """
    o = options
    latent = o.latent_channels or o.z_channels
    if o.kind == "kl" and latent != o.z_channels:
        why = "AutoencoderKL has one number for both"
        raise unheld(f"autoencoder.latent_channels {latent} beside z_channels {o.z_channels}", why, "")
    if o.patch != 1 and not folded:
        raise unheld(f"autoencoder.patch {o.patch}", "its first stages fold no patches into channels", "")
    if o.dropout:
        why = "its first stages have no dropout"
        raise unheld(f"autoencoder.dropout {o.dropout:g}", why, "Set it to 0, which changes no image")
    levels = range(len(o.multipliers))
    attends = [o.patch * 2**level in o.attention for level in levels]
    values = {
        "in_channels": image_channels * o.patch**2,
        "out_channels": image_channels * o.patch**2,
        "down_block_types": tuple(DOWN[attend] for attend in attends),
        "up_block_types": tuple(UP[attend] for attend in reversed(attends)),
        "block_out_channels": widths(o.channels, o.multipliers, "autoencoder"),
        "layers_per_block": o.blocks,
        "norm_num_groups": o.norm_groups,
        "sample_size": size[0] // o.patch if size[0] == size[1] else tuple(side // o.patch for side in size),
        "mid_block_add_attention": o.middle_attention,
        "latent_channels": o.z_channels,
        "scaling_factor": scale,
    }
    if o.kind == "vq":
        return VQ.config({**values, "num_vq_embeddings": o.codes, "vq_embed_dim": latent})
    return KL.config(values)


def from_config(config: Mapping[str, Any], where: str) -> tuple[AutoencoderOptions, dict[str, Any]]:
    """Our options, and the settings they came from. Raises UsageError for what our networks cannot be."""
    keys = CLASSES[config["_class_name"]]
    s = keys.settings(config, where)
    down = attending(s["down_block_types"], *DOWN, where, "down_block_types")
    up = attending(s["up_block_types"][::-1], *UP, where, "up_block_types")
    if down != up:
        raise refused(where, f"attention at factors {down} down and {up} up", "ours are the same on both sides")
    if s["in_channels"] != s["out_channels"]:
        raise refused(where, f"out_channels {s['out_channels']}", f"in_channels is {s['in_channels']}")
    options: dict[str, Any] = {
        "kind": "kl" if keys is KL else "vq",
        "z_channels": s["latent_channels"],
        **multipliers(s["block_out_channels"], where),
        "blocks": s["layers_per_block"],
        "attention": down,
        "middle_attention": s["mid_block_add_attention"],
        "norm_groups": s["norm_num_groups"],
    }
    if keys is VQ:
        options |= {"codes": s["num_vq_embeddings"], "latent_channels": s["vq_embed_dim"] or s["latent_channels"]}
    return AutoencoderOptions.model_validate(options), s


def scale_of(tensors: Mapping[str, Tensor]) -> float:
    """The scale of the latent. Raises UsageError for a shift, which the pipelines of diffusers do not take away."""
    shift = tensors["latent_shift"]
    if bool(shift.any()):
        values = ", ".join(f"{value:g}" for value in shift.tolist())
        raise unheld(f"latent_shift {values}", "diffusers' pipelines have only a scale", "")
    return float(str(np.float32(float(tensors["latent_scale"]))))  # the shortest number that is this one in float32


def buffers(scale: float, latent_channels: int) -> dict[str, Tensor]:
    """The two buffers of a first stage with this scale and no shift."""
    return {"latent_scale": torch.tensor(scale), "latent_shift": torch.zeros(latent_channels)}
