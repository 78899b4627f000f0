"""If these fail, an edit changes what should stay, or keeps what should change: its attention is not its original's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from latentry.diffusion.levels import LEVELS
from latentry.diffusion.schedule import Level
from latentry.models.bind import bind
from latentry.models.editing import PromptEdit
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.nn.attention import Attention, split_heads
from tests.unit.models.small_models import CONDITIONS, TEXT, denoiser

SWAP = ("a red circle", "a blue circle")
ADDED = ("a red circle", "a red circle on grey")
PAIRS = 2
X = torch.randn(PAIRS, 4, 8, 8, generator=torch.Generator().manual_seed(1)).repeat_interleave(2, 0)
Seen = dict[str, tuple[Tensor, Tensor, Tensor]]


def of_words(conditions: str) -> LatentDiffusion:
    """Every word of its captions is one token."""
    words = CONDITIONS[conditions] | {"text": TEXT | {"tokens": "words"}}
    return denoiser(conditions, conditioning=words)


def probabilities(query: Tensor, key: Tensor) -> Tensor:
    """Softmax attention in float64, from what went into a layer."""
    return (query.double() @ key.double().transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)


@contextmanager
def watched(model: LatentDiffusion) -> Iterator[Seen]:
    """By attention its plain probabilities, its values and, before the last layer, what it gave."""
    seen: Seen = {}

    def note(module: Attention, inputs: tuple[Any, ...]) -> None:
        key, value = module.project(inputs[0]) if len(inputs) < 2 else inputs[1]
        query = split_heads(module.query(inputs[0]), module.heads)
        seen[module.path] = (probabilities(query, key), value.double(), torch.empty(0))

    def note_result(path: str, result: Tensor) -> None:
        plain, value, _ = seen[path]
        seen[path] = (plain, value, split_heads(result, value.shape[1]).double())

    hooks = []
    for attention in (module for module in model.unet.modules() if isinstance(module, Attention)):
        hooks.append(attention.register_forward_pre_hook(note))
        hooks.append(attention.out.register_forward_pre_hook(lambda _, i, path=attention.path: note_result(path, i[0])))
    yield seen
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def run(
    edit: PromptEdit, conditions: str = "both", model: LatentDiffusion | None = None
) -> tuple[Seen, LatentDiffusion]:
    """One call at the first of ten levels, guided: rows of originals and edits in turn, then the unconditional ones."""
    model = model or of_words(conditions)
    values = {"text": [edit.source, edit.edited] * PAIRS}
    levels = LEVELS["trailing"](model.schedule, 10)
    conds = [model.condition(values, 2 * PAIRS), model.nothing(values, 2 * PAIRS)]
    with watched(model) as seen:
        bind(model, conds, levels, edits=edit.bound(model, values, levels))(X, levels[0])
    return seen, model


def rows(seen: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Probabilities of the originals and the edits, values of the edits, and what these gave."""
    plain, value, result = seen
    chosen = slice(1, 2 * PAIRS, 2)
    return plain[0 : 2 * PAIRS : 2], plain[chosen], value[chosen], result[chosen]


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_swapped_word_looks_where_the_original_did() -> None:
    seen, model = run(PromptEdit("text", *SWAP, cross_share=1, self_share=0))
    for path in model.unet.cross_attention_paths:
        source, own, value, result = rows(seen[path])
        close(result, source @ value)
        assert (result - own @ value).abs().max() > 1e-3


def test_with_another_context_its_tokens_stay_where_they_are() -> None:
    """The class stands behind the words: 8 tokens, then one."""
    seen, model = run(PromptEdit("text", *ADDED, cross_share=1, self_share=0), "two contexts")
    for path in model.unet.cross_attention_paths:
        source, own, value, result = rows(seen[path])
        mapped = own.clone()
        for place in (0, 1, 2, 3, 7, 8):  # [CLS] a red circle; the last token of padding; the class
            mapped[..., place] = source[..., place]
        mapped[..., 6] = source[..., 4]  # [SEP], behind two more words
        close(result, mapped @ value)


def test_weights_scale_their_words_alone() -> None:
    edit = PromptEdit("text", "a red circle", "a red circle", {"circle": 2.0, "red": -0.5}, 1, 0)
    seen, model = run(edit)
    for path in model.unet.cross_attention_paths:
        source, _, value, result = rows(seen[path])
        factors = torch.ones(source.shape[-1], dtype=torch.float64)
        factors[2], factors[3] = -0.5, 2.0
        close(result, (source * factors) @ value)


def test_self_attention_is_the_originals_and_only_that() -> None:
    seen, model = run(PromptEdit("text", *SWAP, cross_share=0, self_share=1))
    for path in model.unet.attention_paths:
        source, own, value, result = rows(seen[path])
        close(result, (own if path in model.unet.cross_attention_paths else source) @ value)


def test_originals_and_unconditional_rows_are_left_alone() -> None:
    """Nor does it matter to them that there is an edit beside them."""
    seen, model = run(PromptEdit("text", *SWAP, cross_share=1, self_share=1))
    plain, _ = run(PromptEdit("text", *SWAP, cross_share=0, self_share=0), model=model)
    others = [0, 2, *range(2 * PAIRS, 4 * PAIRS)]
    for path in model.unet.attention_paths:
        close(seen[path][2][others], plain[path][2][others])
        close(seen[path][2][others], (seen[path][0] @ seen[path][1])[others])


@pytest.mark.parametrize("name", LEVELS)
def test_the_shares_are_of_the_steps(name: str) -> None:
    model = of_words("text")
    levels = LEVELS[name](model.schedule, 10)
    at = PromptEdit("text", *SWAP, cross_share=0.8, self_share=0.35).bound(model, {"text": SWAP}, levels)
    crosses = set(model.unet.cross_attention_paths)
    assert [bool(at(level).keys() & crosses) for level in levels[:-1]] == [True] * 8 + [False] * 2
    assert [bool(at(level).keys() - crosses) for level in levels[:-1]] == [True] * 4 + [False] * 6
    between = Level((levels[7].t + levels[8].t) / 2, 0.6, 0.8)
    assert at(between).keys() == crosses
    always = PromptEdit("text", *SWAP, cross_share=1, self_share=0).bound(model, {"text": SWAP}, levels)
    assert all(always(level).keys() == crosses for level in levels[:-1])
