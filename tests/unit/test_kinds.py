"""If these fail, a table's entries cannot be named in a recipe, or a user's own entry is not seen."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from latentry import kinds
from latentry.errors import UsageError


class Small(kinds.KindOptions):
    width: int = 1


class Large(kinds.KindOptions):
    width: int = 100
    deep: bool = False


def table() -> dict[str, kinds.Kind]:
    return {
        "small": kinds.Kind(Small, lambda options, factor: options.width * factor),
        "large": kinds.Kind(Large, lambda options, factor: -options.width * factor),
    }


def test_a_name_alone_is_that_kind_with_its_defaults():
    entries = table()

    class Holder(kinds.Options):
        part: kinds.choice(entries, "parts") = "small"  # type: ignore[valid-type]

    assert Holder(part="large").part == Large(kind="large")
    assert Holder(part={"kind": "large", "deep": True}).part == Large(kind="large", deep=True)
    assert kinds.build(entries, Holder(part={"kind": "small", "width": 3}).part, 7) == 21
    assert kinds.build(entries, Holder(part="large").part, 2) == -200


def test_what_is_written_out_builds_the_same_again():
    """model.yaml is the dump of the options: a kind's own options must survive it."""

    class Holder(kinds.Options):
        part: kinds.choice(table(), "parts")  # type: ignore[valid-type]

    holder = Holder(part={"kind": "large", "width": 5, "deep": True})
    assert holder.model_dump() == {"part": {"kind": "large", "width": 5, "deep": True}}
    assert Holder.model_validate(holder.model_dump()) == holder


def test_an_entry_added_later_is_accepted():
    entries = table()

    class Holder(kinds.Options):
        part: kinds.choice(entries, "parts")  # type: ignore[valid-type]

    with pytest.raises(ValidationError, match='no parts "own"'):
        Holder(part="own")
    entries["own"] = kinds.Kind(Small, lambda options: "mine")
    assert kinds.build(entries, Holder(part="own").part) == "mine"


@pytest.mark.parametrize("value", [3, None, ["small"], {"width": 3}, {"kind": "lage"}, {"kind": "large", "wdth": 1}])
def test_what_names_no_kind_is_refused(value):
    class Holder(kinds.Options):
        part: kinds.choice(table(), "parts")  # type: ignore[valid-type]

    with pytest.raises(ValidationError):
        Holder(part=value)


def test_options_never_change_and_know_their_keys():
    options = Large(kind="large")
    with pytest.raises(ValidationError, match="frozen"):
        options.width = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Large(kind="large", widht=3)  # type: ignore[call-arg]


def test_a_wrong_name_lists_the_known_ones():
    with pytest.raises(UsageError, match=r'solver: no "smal"; known: small, large \(did you mean "small"\?\)'):
        kinds.lookup(table(), "smal", "solver")
