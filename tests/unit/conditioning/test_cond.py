"""How conditions are mixed, against results written by hand."""

from __future__ import annotations

import pytest
import torch

from latentry.conditioning import Cond, batch, combine, where
from latentry.errors import LatentryError


def test_contexts_join_on_length_concats_on_channels_and_vectors_add() -> None:
    """Two conditioners would otherwise overwrite each other, or swap places between training and sampling."""
    text = Cond(context=torch.full((2, 3, 4), 1.0), vector=torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    image = Cond(concat=torch.full((2, 1, 5, 6), 3.0))
    label = Cond(
        context=torch.full((2, 1, 4), 2.0), concat=torch.full((2, 2, 5, 6), 4.0), vector=torch.full((2, 2), 10.0)
    )
    both = combine([text, image, label])
    assert both.context is not None
    assert both.concat is not None
    assert both.vector is not None
    assert both.context[:, :, 0].tolist() == [[1, 1, 1, 2]] * 2
    assert both.context_mask is None
    assert both.concat[0, :, 0, 0].tolist() == [3, 4, 4]
    assert both.vector.tolist() == [[11, 12], [13, 14]]
    assert combine([]) == Cond()


def test_a_vector_is_added_to_each_of_several() -> None:
    each = Cond(vector=torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    both = combine([Cond(vector=torch.tensor([[10.0, 20.0]])), each])
    assert both.vector is not None
    assert both.vector.tolist() == [[[11, 22], [13, 24]]]


def test_several_vectors_of_several_conditions_stay_apart() -> None:
    """Words and boxes are each embedded by themselves; added up row by row, a prompt's first word would belong to a
    layout's first box, and lists of other lengths could not be joined at all."""
    words = torch.arange(12.0).view(2, 3, 2)
    boxes = 100 + torch.arange(8.0).view(2, 2, 2)
    label = torch.tensor([[1000.0, 2000.0], [3000.0, 4000.0]])
    both = combine([Cond(vector=words), Cond(vector=label), Cond(vector=boxes)]).vector
    assert both is not None
    assert both.shape == (2, 5, 2)
    for image in range(2):
        rows = [*words[image].tolist(), *boxes[image].tolist()]
        assert both[image].tolist() == [[a + label[image, 0], b + label[image, 1]] for a, b in rows]
    alone = combine([Cond(vector=words), Cond(vector=boxes)]).vector
    assert alone is not None
    assert torch.equal(alone, torch.cat([words, boxes], 1))


def test_a_context_without_a_mask_is_attended_to_wholly_beside_one_with() -> None:
    """Its tokens would be hidden, or the other's padding seen."""
    masked = Cond(context=torch.zeros(1, 2, 4), context_mask=torch.tensor([[True, False]]))
    plain = Cond(context=torch.zeros(1, 3, 4))
    mask = combine([plain, masked]).context_mask
    assert mask is not None
    assert mask.tolist() == [[True, True, True, True, False]]


def test_where_takes_each_image_from_one_side_in_every_part() -> None:
    ones = Cond(torch.ones(3, 2, 4), torch.ones(3, 2, dtype=torch.bool), torch.ones(3, 1, 2, 2), torch.ones(3, 5))
    zeros = ones.map(torch.zeros_like)
    mixed = where(torch.tensor([True, False, True]), ones, zeros)
    assert set(mixed.parts()) == {"context", "context_mask", "concat", "vector"}
    for part in mixed.parts().values():
        assert part.flatten(1).float().mean(1).tolist() == [1, 0, 1]


def test_parts_that_do_not_match_are_an_error_and_not_broadcast() -> None:
    """A null of another length would be stretched over the prompt without a word."""
    keep = torch.tensor([True, False])
    with pytest.raises(LatentryError, match=r"context is \(2, 3, 4\) and its null \(2, 1, 4\)"):
        where(keep, Cond(context=torch.zeros(2, 3, 4)), Cond(context=torch.zeros(2, 1, 4)))
    with pytest.raises(LatentryError, match="do not match"):
        where(keep, Cond(context=torch.zeros(2, 3, 4)), Cond(vector=torch.zeros(2, 4)))
    with pytest.raises(LatentryError, match="do not match"):
        batch([Cond(context=torch.zeros(2, 3, 4)), Cond()])


def test_batch_keeps_rows_in_order() -> None:
    three = Cond(vector=torch.tensor([[1.0, 2.0]] * 3), context=torch.ones(3, 2, 2))
    rows = batch([three, Cond(vector=torch.zeros(1, 2), context=torch.zeros(1, 2, 2))])
    assert rows.vector is not None
    assert rows.vector[2:].tolist() == [[1, 2], [0, 0]]
    assert rows.vector[:2].tolist() == [[1, 2]] * 2
