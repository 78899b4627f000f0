"""CLIP's text encoder and tokenizer give the numbers of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from latentry.checkpoints.diffusers.files import ENCODER, write_component, write_json
from latentry.checkpoints.diffusers.text import clip
from latentry.conditioning.clip_text import ClipPrompt, ClipTextOptions
from latentry.conditioning.words.clip_tokenizer import END, START, clip_tokenizer
from latentry.errors import UsageError
from tests.reference.close import assert_close
from tests.reference.diffusers_models import randomised
from tests.unit.conditioning.small_clip import MERGES, clip_text, vocabulary
from tests.unit.nn.networks import filled

TEXTS = [
    "a red circle on white",
    "",
    "It's  THE\n artist's café, 1234",
    "日本語 naïve, ok?!",
    f"{END} typed {START}",
    "long " * 100,
    "e\u0301 and é, DON'T",
    " lead and trail ",
    "a</w> b 😀",
]
OPTIONS = ClipTextOptions(width=16, layers=3, heads=2)


def theirs() -> Any:
    rows = vocabulary()
    config = CLIPTextConfig(
        vocab_size=len(rows),
        hidden_size=16,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        bos_token_id=rows[START],
        eos_token_id=rows[END],
        pad_token_id=rows[END],
    )
    return randomised(CLIPTextModel(config)).eval()


def their_tokenizer() -> Any:
    merges: Any = MERGES
    return CLIPTokenizer(vocab=vocabulary(), merges=merges)


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokens_of_a_prompt(text: str) -> None:
    ours = ClipPrompt(OPTIONS, clip_tokenizer(vocabulary(), MERGES, 77)).tokenize([text])
    made = their_tokenizer()
    expected = made(text, padding="max_length", max_length=77, truncation=True).input_ids
    assert ours[0].tolist() == expected


@torch.no_grad()
def test_the_encoding_of_a_prompt() -> None:
    """Every token's last state, and those after the end of the text, which the denoiser sees too."""
    network = theirs()
    ours = ClipPrompt(OPTIONS, clip_tokenizer(vocabulary(), MERGES, 77)).eval()
    ours.transformer.load_state_dict(clip.to_ours(network.state_dict()))
    ids = ours.tokenize(TEXTS)
    context = ours.encode(TEXTS).context
    assert context is not None
    assert_close(context, network(ids)[0], "context")


@torch.no_grad()
def test_transformers_opens_what_we_write(tmp_path: Path) -> None:
    ours = filled(ClipPrompt(OPTIONS, clip_tokenizer(vocabulary(), MERGES, 77)))
    config = {**clip.config(OPTIONS, len(vocabulary())), **clip.extras(clip_text())}
    write_component(tmp_path / "encoder", config, ENCODER, clip.to_theirs(ours.transformer.state_dict()))
    kind: Any = CLIPTextModel
    network, problems = kind.from_pretrained(tmp_path / "encoder", output_loading_info=True)
    assert not any(problems.values()), problems
    (tmp_path / "tokenizer").mkdir()
    for name, content in clip.tokenizer_files(clip_text()).items():
        if isinstance(content, str):
            (tmp_path / "tokenizer" / name).write_text(content, encoding="utf-8")
        else:
            write_json(tmp_path / "tokenizer" / name, content)
    made = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert made.model_max_length == 77
    given = made(TEXTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    assert torch.equal(given, ours.tokenize(TEXTS))
    context = ours.encode(TEXTS).context
    assert context is not None
    assert_close(context, network.eval()(given)[0], "context")


def test_a_tokenizer_saved_by_transformers_is_read(tmp_path: Path) -> None:
    """Older ones are vocab.json and merges.txt, newer ones tokenizer.json: both become the same text."""
    their_tokenizer().save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    assert clip.read_tokenizer(tmp_path, OPTIONS) == clip_text()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"intermediate_size": 99}, "intermediate_size 99"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps 1e-06"),
        ({"use_attention_mask": True}, "use_attention_mask True"),
    ],
)
def test_other_clip_encoders_are_refused_by_name(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        clip.options({**theirs().config.to_dict(), **changes}, "text_encoder/config.json")


def test_a_prompt_that_is_no_text_and_files_that_are_no_tokenizer() -> None:
    ours = ClipPrompt(OPTIONS, clip_tokenizer(vocabulary(), MERGES, 77))
    with pytest.raises(UsageError, match="3 is not a text"):
        ours.encode([3])
    with pytest.raises(UsageError, match="the vocabulary has no"):
        clip_tokenizer({"a": 0}, [], 77)
    with pytest.raises(UsageError, match="is not a byte-pair tokenizer"):
        clip.tokenizer_files('{"model": {}}')
