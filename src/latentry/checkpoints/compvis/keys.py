"""Names and shapes that the same weights have in one published file and another."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

from latentry.checkpoints.compvis.locations import FIRST_STAGE, Locations

COMPILED = "_orig_mod."
CLIP, CLIP_OLD = "cond_stage_model.transformer.", "cond_stage_model.transformer.text_model."
"""Without the word in the files of newer versions of transformers."""
ATTENTION = re.compile(r"(.*\.mid\.attn_1\.)(to_q|query|to_k|key|to_v|value|to_out\.0|proj_attn)(\.(?:weight|bias))")
PLAIN = {
    "to_q": "q", "query": "q", "to_k": "k", "key": "k", "to_v": "v", "value": "v", "to_out.0": "proj_out",
    "proj_attn": "proj_out",
}  # fmt: skip
"""Names of a first stage's attention in files that went through diffusers, and the published ones."""


def standard(tensors: Mapping[str, Tensor], table: Locations) -> dict[str, Tensor]:
    """The tensors under the names that `table` has: without what training tools and converters put before or in them.

    1x1 convolutions and linear maps hold the same numbers, and get the shape that is expected.
    """
    expected = {**{key: location.shape for key, location in table.kept.items()}, **table.unused}
    expected |= {key: location.shape for key, location in table.averaged.items()}
    plain = {name.replace(COMPILED, ""): tensor for name, tensor in tensors.items()}
    prefix = _prefix(plain, next(iter(table.kept)) if table.averaged == {} else _anchor(table))
    named: dict[str, Tensor] = {}
    for name, tensor in plain.items():
        name = _known(name.removeprefix(prefix), expected)
        named[name] = _shaped(tensor, expected[name]) if name in expected else tensor
    return named


def _anchor(table: Locations) -> str:
    """A key of the denoiser, which tells its whole file from a first stage's."""
    return next(key for key, location in table.kept.items() if location.group == "unet_raw")


def _prefix(names: Mapping[str, Tensor], anchor: str) -> str:
    """What stands before every name, as `module.` does, or `first_stage_model.` before a first stage's; mostly ""."""
    if anchor in names:
        return ""
    found = [name.removesuffix(anchor) for name in names if name.endswith(f".{anchor}")]
    return next((prefix for prefix in found if prefix.endswith(FIRST_STAGE)), found[0] if found else "")


def _known(name: str, expected: Mapping[str, object]) -> str:
    """The expected name of the same weight, or the name as it is."""
    if name in expected:
        return name
    candidates = [CLIP_OLD + name.removeprefix(CLIP)] if name.startswith(CLIP) else []
    if match := ATTENTION.fullmatch(name):
        candidates.append(match[1] + PLAIN[match[2]] + match[3])
    return next((candidate for candidate in candidates if candidate in expected), name)


def _shaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor in `shape`, if they differ by axes of length 1 behind the first two alone; else as it is."""
    same = tensor.shape[:2] == shape[:2] and math.prod(tensor.shape[2:]) == math.prod(shape[2:]) == 1
    return tensor.reshape(shape) if len(shape) >= 2 and tensor.ndim >= 2 and same else tensor
