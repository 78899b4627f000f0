"""If these fail, a model of layouts learns or is asked for other objects than were meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from latentry.conditioning import CONDITIONERS, BuildContext
from latentry.conditioning.layout import Layout, LayoutOptions
from latentry.data.sample import Boxes, Sample
from latentry.errors import LatentryError, UsageError
from latentry.kinds import build

SMALL: dict[str, Any] = {"width": 8, "layers": 1, "heads": 2, "head_channels": 4, "objects": 3, "vocabulary": 101}
NONE = 100


def layout(*images: Sequence[str], said: list[str] | None = None, files: Any = None, **changes: Any) -> Layout:
    """Built from data whose images have boxes of these classes."""
    report = (said if said is not None else []).append
    context = BuildContext(objects=lambda: images, report=report, files=files or {})
    made: Layout = build(CONDITIONERS, LayoutOptions(**{**SMALL, **changes}), context)
    return made


def value(made: Layout, sample: Sample, seed: int = 0) -> list[int]:
    """The tokens that training feeds."""
    tokens = made.value(sample, lambda: np.random.default_rng(seed))
    assert tokens is not None
    return tokens.tolist()


def sample(corners: Any, *names: str) -> Sample:
    return Sample(0, 0, boxes=Boxes(np.array(corners, np.float32).reshape(-1, 4), names))


def test_classes_are_numbered_by_the_sorted_names_of_the_data_and_kept_with_the_model() -> None:
    """Numbered anew when loaded, without the data, a cat would be drawn as a dog."""
    made = layout(["dog", "cat"], [], ["10", "9", "dog"])
    assert made.names == ["9", "10", "cat", "dog"]
    again = layout(files=made.files())
    assert again.names == made.names
    assert layout(names=["x", "y"]).files() == {}
    assert layout(["y"], names=["x", "y"]).row("y") == 1


def test_further_training_keeps_the_numbers_and_adds_new_classes_behind() -> None:
    """The weights know classes by number."""
    earlier = layout(["dog", "cat"])
    assert layout(["ant", "dog"], files=earlier.files()).names == ["cat", "dog", "ant"]


def test_a_value_of_training_is_what_the_same_boxes_are_when_asked_for() -> None:
    """As lists of boxes the two must be one set; their order is drawn, as in the published training."""
    made = layout(["star", "ring"])
    one, two = [0.0, 0.0, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]
    both = sample([one, two], "star", "ring")
    asked = made.asked([{"label": "star", "bbox": [0, 0, 4, 8]}, {"label": "ring", "bbox": [4, 4, 4, 4]}], (8, 8))
    seen = {tuple(value(made, both, seed)) for seed in range(20)}
    assert tuple(asked) in seen
    assert len(seen) == 2
    assert {(box.label, box.corners) for box in made.boxes(asked)} == {
        ("star", (0, 0, 4 / 9, 1)),  # nearest of 10 places; halves to even
        ("ring", (4 / 9, 4 / 9, 1, 1)),
    }


def test_of_too_many_boxes_the_largest_are_learned_and_none_is_asked_for() -> None:
    said: list[str] = []
    made = layout(["a"] * 5, ["a"], [], said=said)
    assert said == [
        "layout: 1 of 2 images with boxes have more than 3 of them (up to 5); the largest 3 are used",
    ]
    corners = [[0, 0, 0.1 * i, 1] for i in range(1, 6)]
    kept = made.boxes(value(made, sample(corners, *"aaaaa")))
    assert sorted(round(box.corners[2] * 9) for box in kept) == [round(9 * 0.1 * i) for i in (3, 4, 5)]
    with pytest.raises(UsageError, match="5 boxes; this model reads at most 3"):
        made.asked([{"label": "a", "bbox": [0, 0, 1, 1]}] * 5, (8, 8))


def test_no_boxes_are_not_the_same_as_nothing_said() -> None:
    made = layout(["a"])
    empty = value(made, sample([]))
    assert empty == made.asked([], (8, 8)) == [NONE] * 9 + [0, 99]
    assert made.value(Sample(0, 0), np.random.default_rng) is None
    cond = made.encode([empty, None]).context
    assert cond is not None
    assert not torch.equal(cond[0], cond[1])
    null = made.null(1).context
    assert null is not None
    torch.testing.assert_close(cond[1:], null)


def test_an_unknown_class_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r'no class "stra"; known: ring, star; or a number from 0 to 1 .did you mean'):
        layout(["star", "ring"]).asked([{"label": "stra", "bbox": [0, 0, 1, 1]}], (8, 8))
    assert layout(["star", "ring"]).row(1) == 1


def test_a_published_model_takes_numbers_for_classes_and_token_numbers() -> None:
    """It has no names: 30 boxes of 8192 tokens by default."""
    options = LayoutOptions(width=8, layers=1, heads=2, head_channels=4)
    assert (options.room, options.length, options.vocabulary) == (30, 92, 8192)
    made: Layout = build(CONDITIONERS, options, BuildContext())
    asked = made.asked([{"label": 5, "bbox": [0, 0, 1, 1]}], (8, 8))
    assert asked == [5, 0, 8099] + [8191] * 87 + [0, 8099]
    assert made.asked([1, 2, 3], (8, 8)) == made.asked(np.array([1, 2, 3]), (8, 8)) == [1, 2, 3] + [8191] * 89


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vocabulary": 100}, "the token of the last place is that of .no object. as well.*Set 101"),
        ({"vocabulary": 102, "names": [str(i) for i in range(102)]}, "102 classes for 102 tokens"),
        ({"names": ["cat", "bird"]}, "classes that `names` has not, as dog.*Add them at the end"),
        ({"objects": None, "length": 4}, "length 4 holds no box"),
    ],
)
def test_options_that_cannot_tell_the_boxes_apart_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        layout(["dog"] if "vocabulary" not in changes or len(changes) == 1 else [], **changes)


def test_a_length_follows_from_the_objects() -> None:
    assert LayoutOptions(objects=4).length == 14
    assert LayoutOptions(objects=4, crop=False).length == 12
    with pytest.raises(ValidationError, match="length 13 does not hold 4 objects"):
        LayoutOptions(objects=4, length=13)


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[1]", "[" * 100_000])
def test_a_damaged_list_of_classes_is_named(text: str) -> None:
    with pytest.raises(LatentryError, match=r"objects.json: is not a list of the names of classes"):
        layout(files={"objects.json": text})


def vectors(made: Layout, *values: Any) -> torch.Tensor:
    found = made.encode(values).vector
    assert found is not None
    return found


def test_a_pooled_box_is_a_vector_of_its_own() -> None:
    """Whatever is beside it and whichever comes first: the mean over boxes, which is what the network adds, is then a
    property of the set."""
    made = layout(["ring", "star"], pooled="each")
    one, two = {"label": "star", "bbox": [0, 0, 0.5, 1]}, {"label": "ring", "bbox": [0.5, 0.5, 0.5, 0.5]}
    both, turned, first = vectors(made, [one, two], [two, one], [one])
    assert both.shape == (3, made.vector_width)
    torch.testing.assert_close(both[[1, 0, 2]], turned)
    torch.testing.assert_close(both.mean(0), turned.mean(0))
    torch.testing.assert_close(first, torch.stack([both[0], both[2], both[2]]))
    (moved,) = vectors(made, [one, {**two, "bbox": [0.5, 0.0, 0.5, 0.5]}])
    assert torch.equal(moved[0], both[0])
    assert not torch.allclose(moved[1], both[1])


def test_pooled_is_a_linear_map_of_the_three_tokens() -> None:
    """By hand, with planted weights: class, upper left and lower right corner, in this order."""
    made = layout(["ring", "star"], pooled="each")
    assert made.pool is not None
    table, weight = made.transformer.token.weight, torch.randn(8, 24)
    made.pool.load_state_dict({"weight": weight, "bias": torch.arange(8.0)})
    (found,) = vectors(made, [{"label": "star", "bbox": [0, 0, 1, 1]}])
    for row, tokens in enumerate([(1, 0, 99), (NONE,) * 3, (NONE,) * 3]):
        by_hand = sum(weight[:, 8 * i : 8 * i + 8] @ table[token] for i, token in enumerate(tokens)) + torch.arange(8.0)
        torch.testing.assert_close(found[row], by_hand)


def test_nothing_said_is_no_object_in_every_pooled_vector() -> None:
    made = layout(["star"], pooled="each")
    asked, null = vectors(made, None), made.null(1).vector
    assert null is not None
    torch.testing.assert_close(asked, null)
    torch.testing.assert_close(asked, vectors(made, []))
    assert layout(["star"]).encode([None]).vector is None


def test_the_sum_of_boxes_counts_those_alone_that_are_there() -> None:
    """A box weighs the same in room for three as for thirty: in the mean of `each` place it is lost among empties."""
    made, roomy = layout(["ring", "star"], pooled="sum"), layout(["ring", "star"], pooled="sum", objects=30, length=92)
    for name in ("pool", "box", "transformer.token"):
        roomy.get_submodule(name).load_state_dict(made.get_submodule(name).state_dict())
    one, two = {"label": "star", "bbox": [0, 0, 0.5, 1]}, {"label": "ring", "bbox": [0.5, 0.5, 0.5, 0.5]}
    asked: list[list[Any]] = [[one], [two], [one, two], [two, one], []]
    first, second, both, turned, none = vectors(made, *asked)
    torch.testing.assert_close(both, first + second)
    torch.testing.assert_close(both, turned)
    assert not torch.allclose(first, second)
    assert not none.any()
    torch.testing.assert_close(vectors(roomy, *asked), vectors(made, *asked))
    assert made.pool is not None
    assert made.box is not None
    tokens = torch.cat([made.transformer.token.weight[token] for token in made.asked([one])[:3]])
    torch.testing.assert_close(first, made.box(torch.nn.functional.silu(made.pool(tokens))))


def test_weights_that_are_loaded_are_taken_as_they_are() -> None:
    """Published ones have no places that begin alike."""
    options = LayoutOptions(width=8, layers=1, heads=2, head_channels=4)
    one, other = (build(CONDITIONERS, options, BuildContext()) for _ in range(2))
    state = {name: torch.randn_like(tensor) for name, tensor in one.state_dict().items()}
    for made in (one, other):
        made.load_state_dict(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())
    asked = [[{"label": 5, "bbox": [0, 0, 1, 1]}]]
    assert torch.equal(one.encode(asked).context, other.encode(asked).context)
