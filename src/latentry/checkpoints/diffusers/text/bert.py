"""Text encoders: our `text` as diffusers' LDMBertModel with its tokenizer, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentry.checkpoints.diffusers.files import read_json
from latentry.checkpoints.diffusers.names import Names, inside, modules
from latentry.checkpoints.diffusers.settings import Keys, refused, unheld
from latentry.checkpoints.diffusers.text.encoder import Encoder
from latentry.conditioning.text import FILE, TextOptions
from latentry.conditioning.words import tokenizer as tokens
from latentry.nn.text.encoder import TextTransformer

LENGTH = 77  # tokens; a number in the pipeline's code
KEYS = Keys(
    "LDMBertModel",
    read={
        "vocab_size": 30522, "max_position_embeddings": LENGTH, "encoder_layers": 32, "encoder_ffn_dim": 5120,
        "encoder_attention_heads": 8, "head_dim": 64, "d_model": 1280,
    },
    fixed={"activation_function": ("gelu",), "scale_embedding": (False, None)},
    unused=None,
)  # fmt: skip

LAYER = [
    *modules({"norm_attention": "self_attn_layer_norm", "norm_feed_forward": "final_layer_norm"}),
    *inside("attention", "self_attn", modules({"query": "q_proj", "key": "k_proj", "value": "v_proj"})),
    *modules({"attention.out": "self_attn.out_proj", "feed_forward.expand": "fc1", "feed_forward.reduce": "fc2"}),
]
NAMES = Names([
    *modules({"token": "model.embed_tokens", "position": "model.embed_positions", "norm": "model.layer_norm"}),
    *inside("layers.#", "model.layers.#", LAYER),
])  # fmt: skip
UNUSED = "to_logits."  # LDMBertModel has such a layer, and nothing reads it
ALONE = ""


def config(options: TextOptions, rows: int) -> dict[str, Any]:
    """The config.json. Raises UsageError by name for what LDMTextToImagePipeline cannot do."""
    o = options
    if o.pooled:
        why = "LDMTextToImagePipeline has no vector beside the context"
        raise unheld(f"conditioning text with pooled {o.pooled}", why, ALONE)
    if o.length != LENGTH:
        raise unheld(f"conditioning text with length {o.length}", f"LDMTextToImagePipeline pads to {LENGTH}", ALONE)
    values = {
        "vocab_size": rows,
        "max_position_embeddings": o.length,
        "encoder_layers": o.layers,
        "encoder_ffn_dim": 4 * o.width,
        "encoder_attention_heads": o.heads,
        "head_dim": o.head_channels,
        "d_model": o.width,
    }
    rest = {"architectures": [KEYS.name], "model_type": "ldmbert", "pad_token_id": 0, "dropout": 0.0}
    return {k: v for k, v in KEYS.config(values).items() if not k.startswith("_")} | rest


def options(config: Mapping[str, Any], where: str) -> tuple[TextOptions, int]:
    """Our options and the rows of the token table. Raises UsageError for what ours cannot be."""
    s = KEYS.settings(config, where)
    if s["encoder_ffn_dim"] != 4 * s["d_model"]:
        raise refused(where, f"encoder_ffn_dim {s['encoder_ffn_dim']}", f"ours is 4 times d_model {s['d_model']}")
    if s["max_position_embeddings"] != LENGTH:
        raise refused(
            where, f"max_position_embeddings {s['max_position_embeddings']}", f"the pipeline pads to {LENGTH}"
        )
    made = TextOptions(
        width=s["d_model"],
        layers=s["encoder_layers"],
        heads=s["encoder_attention_heads"],
        head_channels=s["head_dim"],
        length=LENGTH,
        vocabulary=s["vocab_size"],
    )
    return made, s["vocab_size"]


def network(options: TextOptions, rows: int) -> nn.Module:
    """Our network, to check weights against."""
    chosen = options.model_dump(include={"length", "width", "layers", "heads", "head_channels"})
    return TextTransformer(vocabulary=rows, **chosen)


def to_theirs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under LDMBertModel's names, with zeros for the layer that nothing reads."""
    token = tensors["token.weight"]
    unused = {UNUSED + "weight": torch.zeros_like(token), UNUSED + "bias": torch.zeros_like(token[:, 0])}
    return NAMES.to_theirs(tensors) | unused


def to_ours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """LDMBertModel's weights under our names, without the layer that nothing reads."""
    return NAMES.to_ours({name: tensor for name, tensor in tensors.items() if not name.startswith(UNUSED)})


def tokenizer_files(text: str) -> dict[str, Any]:
    """The files of the `tokenizer` folder from the text of our tokenizer.json."""
    pad = next(token for token in tokens.PADS if tokens.parse(text, FILE).token_to_id(token) is not None)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": LENGTH, "pad_token": pad}
    return {FILE: text, "tokenizer_config.json": settings}


def read_tokenizer(folder: Path, options: TextOptions) -> str:
    """The text of our tokenizer.json from a folder with a tokenizer.json or BERT's vocab.txt."""
    if (folder / FILE).is_file():
        return (folder / FILE).read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    if config.is_file() and not read_json(config).get("do_lower_case", True):
        raise refused(str(config), "do_lower_case false", "ours of vocab.txt are lower-case")
    tokenizer = tokens.read(folder / "vocab.txt")
    tokens.fix_length(tokenizer, options.length)
    return tokenizer.to_str(pretty=True)


ENCODER = Encoder(
    "latent_diffusion", KEYS.name, ("transformers", "PreTrainedTokenizerFast"), "bert", FILE, config, options,
    to_theirs, to_ours, network, tokenizer_files, read_tokenizer,
)  # fmt: skip
