"""Our parameter names of a first stage and of its training losses, and the published ones: a one-to-one table.

The published names are those of CompVis latent-diffusion and taming-transformers, without the prefix that an enclosing
model adds (`first_stage_model.`). Ours are `encoder.`, `decoder.`, `quant_conv.`, `post_quant_conv.`,
`quantiser.codebook`, and for training `discriminator.`, `perceptual.` and `log_variance`.
"""

from __future__ import annotations

import re

from latentry.errors import LatentryError

BLOCK = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "shortcut": "nin_shortcut"}
ATTENTION = {"norm": "norm", "query": "q", "key": "k", "value": "v", "out": "proj_out"}
SIDES = {"encoder": "down", "decoder": "up"}
RESAMPLE = {"encoder": "downsample", "decoder": "upsample"}
MIDDLE = {"block1": ("block_1", BLOCK), "attention": ("attn_1", ATTENTION), "block2": ("block_2", BLOCK)}

# Of VGG16 the published perceptual loss numbers five slices by torchvision's layer index.
VGG16_SLICES = {0: 1, 2: 1, 5: 2, 7: 2, 10: 3, 12: 3, 14: 3, 17: 4, 19: 4, 21: 4, 24: 5, 26: 5, 28: 5}

LEAF = r"(?P<leaf>weight|bias|running_mean|running_var|num_batches_tracked)"
N = r"\d+"


def _pairs() -> list[tuple[str, str]]:
    """(ours, published) with `#` for a number (the same, in the same order, on both sides) and `*` for the leaf."""
    pairs = [("quant_conv.*", "quant_conv.*"), ("post_quant_conv.*", "post_quant_conv.*")]
    pairs += [("quantiser.codebook", "quantize.embedding.weight"), ("log_variance", "loss.logvar")]
    for side, levels in SIDES.items():
        pairs += [(f"{side}.{name}.*", f"{side}.{name}.*") for name in ("conv_in", "norm_out", "conv_out")]
        pairs += [(f"{side}.levels.#.blocks.#.{a}.*", f"{side}.{levels}.#.block.#.{b}.*") for a, b in BLOCK.items()]
        pairs += [
            (f"{side}.levels.#.attentions.#.{a}.*", f"{side}.{levels}.#.attn.#.{b}.*") for a, b in ATTENTION.items()
        ]
        pairs.append((f"{side}.levels.#.resample.conv.*", f"{side}.{levels}.#.{RESAMPLE[side]}.conv.*"))
        for ours, (published, parts) in MIDDLE.items():
            pairs += [(f"{side}.middle.{ours}.{a}.*", f"{side}.mid.{published}.{b}.*") for a, b in parts.items()]
    pairs.append(("discriminator.layers.#.*", "loss.discriminator.main.#.*"))
    pairs += [("perceptual.shift", "loss.perceptual_loss.scaling_layer.shift")]
    pairs += [("perceptual.scale", "loss.perceptual_loss.scaling_layer.scale")]
    pairs += [(f"perceptual.heads.{i}", f"loss.perceptual_loss.lin{i}.model.1.weight") for i in range(5)]
    for layer, part in VGG16_SLICES.items():
        pairs.append((f"perceptual.net.features.{layer}.*", f"loss.perceptual_loss.net.slice{part}.{layer}.*"))
    return pairs


def _rule(source: str, target: str) -> tuple[re.Pattern[str], str]:
    pattern = re.escape(source).replace(r"\#", f"({N})").replace("#", f"({N})").replace(r"\*", LEAF)
    count = iter(range(1, 9))
    template = re.sub("#", lambda _: rf"\g<{next(count)}>", target).replace("*", r"\g<leaf>")
    return re.compile(pattern), template


PAIRS = _pairs()
TO_PUBLISHED = [_rule(ours, published) for ours, published in PAIRS]
TO_OURS = [_rule(published, ours) for ours, published in PAIRS]


def to_published(name: str) -> str:
    """The published name of our parameter or buffer `name`; `LatentryError` if there is none."""
    return _translate(name, TO_PUBLISHED, "published")


def to_ours(name: str) -> str:
    """Our name of the published parameter or buffer `name`; `LatentryError` if there is none."""
    return _translate(name, TO_OURS, "latentry")


def _translate(name: str, rules: list[tuple[re.Pattern[str], str]], kind: str) -> str:
    for pattern, template in rules:
        match = pattern.fullmatch(name)
        if match:
            return match.expand(template)
    raise LatentryError(f"first stage: the weight `{name}` has no {kind} name. The file is of another kind of model.")
