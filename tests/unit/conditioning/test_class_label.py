"""Labels by name and by number, and where the null lies."""

from __future__ import annotations

import pytest
import torch

from latentry.conditioning import BuildContext
from latentry.conditioning.class_label import ClassLabelOptions, build
from latentry.errors import UsageError

NAMES = BuildContext(labels=["animals", "food", "travel places"])


def test_names_and_numbers_mean_the_same_row_and_the_null_its_own() -> None:
    """`--label food` must give what training called class 1."""
    label = build(ClassLabelOptions(width=4), NAMES)
    rows = label.embedding.weight
    assert rows.shape == (4, 4)
    context = label.encode(["food", 1, "1", None, -1, "travel places"]).context
    assert context is not None
    assert torch.equal(context[:, 0], rows[[1, 1, 1, 3, 3, 2]])
    batch = label.encode(torch.tensor([2, 0])).context
    assert batch is not None
    assert torch.equal(batch[:, 0], rows[[2, 0]])


def test_a_published_null_is_a_row_among_the_classes() -> None:
    """cin256 has 1001 rows and says "no class" with row 1000: one row more would not load its weights."""
    label = build(ClassLabelOptions(width=2, classes=1001, null=1000), BuildContext())
    assert label.embedding.weight.shape == (1001, 2)
    null = label.null(2).context
    assert null is not None
    assert torch.equal(null[:, 0], label.embedding.weight[[1000, 1000]])


def test_names_may_be_digits() -> None:
    """Folders called 7 and 3 sort as "3", "7": a name must win over a number."""
    label = build(ClassLabelOptions(), BuildContext(labels=["3", "7"]))
    assert [label.row(value) for value in ("3", "7", 0, 1)] == [0, 1, 0, 1]


@pytest.mark.parametrize("value", ["animls", 3, -2, 1.5, True, "²", ""])
def test_an_unknown_label_is_one_line_with_the_known_ones(value: object) -> None:
    label = build(ClassLabelOptions(), NAMES)
    with pytest.raises(UsageError) as error:
        label.encode([value])
    assert "known: animals, food, travel places; or a number from 0 to 2" in str(error.value)
    assert ('did you mean "animals"?' in str(error.value)) == (value == "animls")


def test_a_thousand_names_do_not_fill_the_screen() -> None:
    label = build(ClassLabelOptions(), BuildContext(labels=[f"class {i}" for i in range(1000)]))
    with pytest.raises(UsageError) as error:
        label.encode(["clas 700"])
    assert len(str(error.value)) < 500


def test_options_that_contradict_are_refused() -> None:
    with pytest.raises(UsageError, match="null is 5; known: 0 to 2"):
        build(ClassLabelOptions(null=5), NAMES)
    with pytest.raises(UsageError, match="2 names for 1 classes"):
        build(ClassLabelOptions(names=["a", "b"], classes=1), BuildContext())
