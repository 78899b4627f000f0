"""The text transformer: what reaches a token's vector, and the errors."""

from __future__ import annotations

import pytest
import torch

from latentry.errors import UsageError
from latentry.nn.text.encoder import TextTransformer
from tests.unit.nn.networks import filled


def encoder() -> TextTransformer:
    return filled(TextTransformer(vocabulary=20, length=7, width=16, layers=2, heads=2, head_channels=4))


def test_one_vector_per_token() -> None:
    assert encoder()(torch.tensor([[1, 2, 3], [4, 5, 6]])).shape == (2, 3, 16)


def test_padding_takes_part() -> None:
    """Published text models were trained without a mask: masking the padding would change every prompt."""
    ids = torch.tensor([[1, 2, 0, 0]])
    changed = torch.tensor([[1, 2, 0, 9]])
    assert (encoder()(ids)[:, 0] - encoder()(changed)[:, 0]).abs().max() > 1e-3


def test_order_of_words_matters() -> None:
    one, other = encoder()(torch.tensor([[1, 2, 3]])), encoder()(torch.tensor([[2, 1, 3]]))
    assert (one[:, 2] - other[:, 2]).abs().max() > 1e-3


def test_a_text_does_not_depend_on_its_batch() -> None:
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    torch.testing.assert_close(encoder()(ids)[1:], encoder()(ids[1:]), atol=1e-5, rtol=1e-4)


def test_too_many_tokens() -> None:
    with pytest.raises(UsageError, match="8 tokens; it was built for at most 7"):
        encoder()(torch.zeros(1, 8, dtype=torch.long))
