"""Text encoders: our `clip_text` as transformers' CLIPTextModel with its tokenizer, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from latentry.checkpoints.diffusers.files import read_json
from latentry.checkpoints.diffusers.settings import Keys, refused
from latentry.checkpoints.diffusers.text.encoder import Encoder
from latentry.conditioning.clip_text import FILE, ClipTextOptions
from latentry.conditioning.words.clip_tokenizer import END, START, clip_tokenizer, parts, read_merges
from latentry.errors import UsageError
from latentry.nn.text.clip import ClipText

KEYS = Keys(
    "CLIPTextModel",
    read={
        "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
        "num_attention_heads": 8, "max_position_embeddings": 77,
    },
    fixed={"hidden_act": ("quick_gelu",), "layer_norm_eps": (1e-5,), "use_attention_mask": (False, None)},
    unused=None,
)  # fmt: skip
PREFIX = "text_model."  # which transformers writes no more from version 5 on, and reads
VOCABULARY, MERGES, WHOLE = "vocab.json", "merges.txt", "tokenizer.json"
VERSION = "#version: 0.2"


def config(options: ClipTextOptions, rows: int) -> dict[str, Any]:
    """The config.json."""
    o = options
    values = {
        "vocab_size": rows,
        "hidden_size": o.width,
        "intermediate_size": 4 * o.width,
        "num_hidden_layers": o.layers,
        "num_attention_heads": o.heads,
        "max_position_embeddings": o.length,
    }
    rest = {"architectures": [KEYS.name], "model_type": "clip_text_model", "projection_dim": o.width}
    return {k: v for k, v in KEYS.config(values).items() if not k.startswith("_")} | rest


def extras(text: str) -> dict[str, Any]:
    """The numbers of the tokens that begin, end and fill a text."""
    vocabulary, _, pad = parts(text, FILE)
    return {"bos_token_id": vocabulary[START], "eos_token_id": vocabulary[END], "pad_token_id": vocabulary[pad]}


def options(config: Mapping[str, Any], where: str) -> tuple[ClipTextOptions, int]:
    """Our options and the rows of the token table. Raises UsageError for what ours cannot be."""
    s = KEYS.settings(config, where)
    if s["intermediate_size"] != 4 * s["hidden_size"]:
        what = f"intermediate_size {s['intermediate_size']}"
        raise refused(where, what, f"ours is 4 times hidden_size {s['hidden_size']}")
    made = ClipTextOptions(
        width=s["hidden_size"],
        layers=s["num_hidden_layers"],
        heads=s["num_attention_heads"],
        length=s["max_position_embeddings"],
    )
    return made, s["vocab_size"]


def network(options: ClipTextOptions, rows: int) -> nn.Module:
    """Our network, to check weights against."""
    return ClipText(vocabulary=rows, **options.model_dump(exclude={"kind"}))


def to_theirs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names are those of CLIP's published weights."""
    return dict(tensors)


def to_ours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the prefix, which newer files are without."""
    return {name if name.startswith(PREFIX) else PREFIX + name: tensor for name, tensor in tensors.items()}


def tokenizer_files(text: str) -> dict[str, Any]:
    """The files of the `tokenizer` folder from the text of our tokenizer."""
    vocabulary, merges, pad = parts(text, FILE)
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    length = json.loads(text)["truncation"]["max_length"]
    return {
        VOCABULARY: vocabulary,
        MERGES: "\n".join([VERSION, *(" ".join(pair) for pair in merges)]) + "\n",
        "special_tokens_map.json": special,
        "tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, **special},
    }


def read_tokenizer(folder: Path, options: ClipTextOptions) -> str:
    """The text of our tokenizer from a folder with a tokenizer.json, or vocab.json and merges.txt."""
    if (folder / WHOLE).is_file():
        vocabulary, merges, _ = parts((folder / WHOLE).read_text(encoding="utf-8"), str(folder / WHOLE))
    else:
        vocabulary, merges = read_json(folder / VOCABULARY), _read_merges(folder / MERGES)
    settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    pad = settings.get("pad_token", END)
    pad = pad["content"] if isinstance(pad, dict) else pad
    return clip_tokenizer(vocabulary, merges, options.length, pad).to_str(pretty=True)


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        return read_merges(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: is not a list of merges ({error}). Take another copy of the folder.") from error


ENCODER = Encoder(
    "transformers", KEYS.name, ("transformers", "CLIPTokenizer"), "text_encoder", FILE, config, options, to_theirs,
    to_ours, network, tokenizer_files, read_tokenizer, extras,
)  # fmt: skip
