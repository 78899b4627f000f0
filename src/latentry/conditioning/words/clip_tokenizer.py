"""CLIP's tokenizer: lower-case byte pairs, from its published files or a tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from latentry import text as outside
from latentry.errors import UsageError

START, END = "<|startoftext|>", "<|endoftext|>"
TOKENS = 49408
"""Of CLIP's vocabulary; the last two are the start and the end."""
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
Pair = tuple[str, str]


def clip_tokenizer(vocabulary: Mapping[str, int], merges: Sequence[Pair], length: int, pad: str = END) -> Tokenizer:
    """CLIP's tokenizer for a vocabulary and its merges in order; every encoding is `length` tokens long.

    Lower-case byte pairs whose last piece ends in `</w>`; padded by the end token, as in Stable Diffusion 1.
    """
    missing = [token for token in dict.fromkeys((START, END, pad)) if token not in vocabulary]
    if missing:
        raise UsageError(
            f"conditioning clip_text: the vocabulary has no {', '.join(missing)}. Give that of a CLIP model."
        )
    tokenizer = Tokenizer(
        models.BPE(
            dict(vocabulary),
            list(merges),
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            fuse_unk=False,
            unk_token=END,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([START, END])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, vocabulary[START]), (END, vocabulary[END])]
    )
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=vocabulary[pad], pad_token=pad)
    return tokenizer


def without_words(length: int) -> Tokenizer:
    """A stand-in for the vocabulary of CLIP, which makes the empty prompt alone; `tokenizer.knows_words` tells."""
    vocabulary = {f"[unused{number}]": number for number in range(TOKENS - 2)}
    return clip_tokenizer({**vocabulary, START: TOKENS - 2, END: TOKENS - 1}, [], length)


def read(path: Path, length: int) -> Tokenizer:
    """CLIP's tokenizer of a folder with vocab.json and merges.txt, or of a tokenizer.json, by itself or in a folder."""
    try:
        whole = path / "tokenizer.json"  # all that newer versions of transformers write
        path = whole if whole.is_file() and not (path / "vocab.json").is_file() else path
        if path.is_dir():
            vocabulary = json.loads(outside.read(path / "vocab.json"))
            return clip_tokenizer(vocabulary, read_merges(path / "merges.txt"), length)
        vocabulary, merges, pad = parts(outside.read(path), str(path))
    except (OSError, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise UsageError(
            f"conditioning clip_text: {path}: {error}. Give a folder of vocab.json and merges.txt."
        ) from error
    return clip_tokenizer(vocabulary, merges, length, pad)


def read_merges(path: Path) -> list[Pair]:
    """The merges of a merges.txt in order. Raises OSError or ValueError where there are none."""
    lines = outside.read(path).split("\n")
    return [(a, b) for a, b in (line.split(" ") for line in lines if line and not line.startswith("#version"))]


def parts(text: str, where: str) -> tuple[dict[str, int], list[Pair], str]:
    """Vocabulary, merges and padding token in the text of a tokenizer.json. where: its name for errors."""
    try:
        plain = json.loads(text)
        vocabulary, merges = plain["model"]["vocab"], plain["model"]["merges"]
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
        return dict(vocabulary), [(a, b) for a, b in pairs], (plain.get("padding") or {}).get("pad_token", END)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"conditioning clip_text: {where} is not a byte-pair tokenizer ({error!r}). Take another copy."
        ) from error
