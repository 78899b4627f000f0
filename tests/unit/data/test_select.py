"""Filters, labels, and the held-out split."""

from __future__ import annotations

import pytest

from latentry.data.folders import select
from latentry.data.folders.records import Record
from latentry.errors import UsageError
from tests.unit.data.files import options


def _record(n: int) -> Record:
    return Record(f"{n}.png", {"tone": None if n % 2 else "dark", "kind": n % 3, "name": f"g{n // 4}"})


RECORDS = [_record(n) for n in range(400)]


def test_where_keeps_values_lists_and_absence() -> None:
    """The emoji set trains on the images without a skin tone: null must mean null."""
    assert len(select.selected(RECORDS, options(where={"tone": None}))) == 200
    assert len(select.selected(RECORDS, options(where={"tone": [None, "dark"]}))) == 400
    both = select.selected(RECORDS, options(where={"tone": "dark", "kind": [1, "2"]}))
    assert {(r.fields["tone"], r.fields["kind"]) for r in both} == {("dark", 1), ("dark", 2)}


def test_where_without_a_match_lists_the_values_there_are() -> None:
    """A misspelt value must not train on nothing, or on everything."""
    with pytest.raises(UsageError, match=r"where\.tone: no image has 'drak'; values found: None, dark"):
        select.selected(RECORDS, options(where={"tone": "drak"}))


@pytest.mark.parametrize("key", ["text", "label", "balance", "split_by"])
def test_an_unknown_field_is_an_error_with_the_nearest(key: str) -> None:
    """Otherwise every caption is empty and the model learns nothing, silently."""
    with pytest.raises(
        UsageError, match=rf'data\.{key}: .* "nane"; fields: tone, kind, name \(did you mean "name"\?\)'
    ):
        select.require_fields(RECORDS, options(**{key: "nane"}))


def test_adding_images_moves_none_from_one_side_of_the_split_to_the_other() -> None:
    """Else an image of yesterday's training would be measured as held out today."""
    o = options(held_out=0.2)
    before = {r.path for r in select.split(RECORDS[::2], o, "held_out")}
    after = {r.path for r in select.split(RECORDS, o, "held_out")}
    assert before == after & {r.path for r in RECORDS[::2]}
    train = {r.path for r in select.split(RECORDS, o, "train")}
    assert train | after == {r.path for r in RECORDS}
    assert not train & after
    assert 50 <= len(after) <= 110


def test_the_split_is_the_same_for_ever() -> None:
    """Figures of shipped models are stated on this split: these names were held out in the first version."""
    o = options(held_out=0.1)
    names = [Record(f"images/{n}.png") for n in range(60)]
    first = [6, 29, 42, 49, 58]
    assert [r.path for r in select.split(names, o, "held_out")] == [f"images/{n}.png" for n in first]


def test_odd_labels_sort_and_are_named_as_text_files_can_hold_them() -> None:
    """`--5` is no number, and Python reads no number of 5000 digits; a folder's name need not be UTF-8."""
    names = ["--5", "9" * 5000, "-", "caf\udce9", "half \ud83d", "10", "-2"]
    records = [Record(f"{n}.png", {"l": name}) for n, name in enumerate(names)]
    expected = ["-2", "10", "-", "--5", "9" * 5000, "caf\\xe9", "half \\ud83d"]
    assert select.label_names(records, "l") == expected
    assert select.label_numbers(records, "l", expected) == [3, 4, 2, 5, 6, 1, 0]
    assert select.selected(records, options(where={"l": "caf\\xe9"})) == [records[3]]
    assert len(select.split(records, options(split_by="l", held_out=0.0), "train")) == 7


def test_a_group_is_never_cut_in_two() -> None:
    """Variants of one drawing on both sides would make held-out figures a memory test."""
    o = options(held_out=0.3, split_by="name")
    held = {r.fields["name"] for r in select.split(RECORDS, o, "held_out")}
    train = {r.fields["name"] for r in select.split(RECORDS, o, "train")}
    assert held
    assert not held & train


def test_nothing_left_to_train_on_is_said() -> None:
    """Instead of a division by zero later."""
    with pytest.raises(UsageError, match="all 3 images are held out"):
        select.split([Record("a.png"), Record("b.png"), Record("c.png")], options(held_out=0.9999999), "train")


def test_labels_sort_as_people_count_and_come_from_subfolders() -> None:
    """Label 10 after 9, so that label numbers are the numbers in the metadata."""
    assert select.label_names([Record("a", {"n": n}) for n in (10, 9, 1, 10)], "n") == ["1", "9", "10"]
    records = [Record("dog/x/1.png"), Record("cat/2.png")]
    assert select.label_names(records, "folder") == ["cat", "dog"]
    assert select.label_numbers(records, "folder", ["cat", "dog"]) == [1, 0]
    with pytest.raises(UsageError, match=r"1 images have no folder: loose\.png"):
        select.label_names([*records, Record("loose.png")], "folder")


def test_captions_may_be_one_many_or_missing() -> None:
    """COCO has five captions an image."""
    assert select.captions_of(Record("a", {"text": "one"}), "text") == ["one"]
    assert select.captions_of(Record("a", {"text": ["one", "two"]}), "text") == ["one", "two"]
    assert select.captions_of(Record("a", {"text": None}), "text") == [""]
    assert select.captions_of(Record("a"), None) == [""]
