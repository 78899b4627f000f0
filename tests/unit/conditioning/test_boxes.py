"""If these fail, an imported layout model is told of other places than were asked for, and draws elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentry.conditioning import boxes
from latentry.errors import UsageError

FROZEN = Path(__file__).parents[2] / "reference" / "frozen" / "layout_tokens.json"
"""Numbers of the published builder (taming-transformers, objects_bbox), its random order of objects left out."""


def told(*bbox: Any, label: Any = "cat", size: tuple[int, int] | None = None, **of: Any) -> list[boxes.Told]:
    rows = [{"label": label, "bbox": one} for one in bbox]
    return boxes.told({"boxes": rows, **of} if of else rows, size)


@pytest.mark.parametrize("case", json.loads(FROZEN.read_text()), ids=lambda case: f"{case['vocabulary']}")
def test_tokens_are_those_of_the_published_builder(case: dict[str, Any]) -> None:
    """30 boxes of 8192 tokens, as the published models have, and other sizes, with and without the crop's tokens."""
    corners = [box.corners for box in told(*case["bbox"])]
    how = {name: case[name] for name in ("vocabulary", "objects", "crop")}
    made = boxes.tokens(case["classes"], corners, **how)
    assert made == case["tokens"] + [case["none"]] * case["empty"] + case["crop_tokens"]


def test_a_published_layout_is_92_tokens_that_end_with_the_whole() -> None:
    made = boxes.tokens([], [], vocabulary=8192, objects=30, crop=True)
    assert made == [8191] * 90 + [0, 8099]  # 8099 = 90 x 90 - 1


side = st.integers(0, 89)


@given(st.lists(st.tuples(st.integers(0, 181), side, side, side, side), max_size=30))
def test_boxes_come_back_from_their_tokens(rows: list[tuple[int, ...]]) -> None:
    """Places that are tokens themselves come back exactly; so the picture of a layout shows what the model is told."""
    corners = [tuple(one / 89 for one in row[1:]) for row in rows]
    made = boxes.tokens([row[0] for row in rows], corners, vocabulary=8192, objects=30, crop=True)
    back = boxes.boxes(made, vocabulary=8192, objects=30)
    assert [row for row, _ in back] == [row[0] for row in rows]
    np.testing.assert_allclose(np.array([c for _, c in back]).reshape(-1, 4), np.array(corners).reshape(-1, 4))


def test_pixels_and_shares_are_the_same_boxes() -> None:
    """Half of the width and a quarter of the height, however it is told."""
    wanted = (0.25, 0.5, 0.75, 0.75)
    for same in (
        told([0.25, 0.5, 0.5, 0.25]),
        told([16, 16, 32, 8], size=(32, 64)),
        told([160, 240, 320, 120], size=(32, 64), width=640, height=480),
        told([0.25, 0.5, 0.5, 0.25], width=640, height=480),
        told(np.array([0.25, 0.5, 0.5, 0.25], np.float32)),
    ):
        assert same == [("cat", wanted)]


def test_shares_are_told_by_the_whole_layout() -> None:
    """A box of one pixel beside others in pixels is not the whole image."""
    small, _ = told([0, 0, 1, 1], [4, 4, 4, 4], size=(8, 8))
    assert small.corners == (0, 0, 1 / 8, 1 / 8)


@pytest.mark.parametrize(
    ("bbox", "size", "said"),
    [
        ([0, 0, 0, 4], (8, 8), r"box 1 \(cat\): \[0.0, 0.0, 0.0, 4.0\] is empty"),
        ([0, 0, -3, 4], (8, 8), "is empty"),
        ([6, 0, 4, 4], (8, 8), "leaves the image .an image 8 wide and 8 high, in pixels"),
        ([-1, 0, 4, 4], (8, 8), "leaves the image"),
        ([0.5, 0, 0.6, 1], (8, 8), "leaves the image .0 to 1, in shares"),
        ([0.1, 0.1, 1.2, 0.3], (8, 8), "smaller than a pixel; numbers are shares where all of a layout are at most 1"),
        ([0, 0, 4], (8, 8), "accepted: .x, y, width, height., four numbers"),
        ([0, 0, 4, float("nan")], (8, 8), "four numbers"),
        ([0, 0, 4, "4"], (8, 8), "four numbers"),
        ([0, 0, 4, 4], None, "in pixels of an unknown size"),
    ],
)
def test_a_box_that_cannot_be_drawn_is_one_clear_line(bbox: Any, size: tuple[int, int] | None, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        told(bbox, size=size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ([{"label": "cat"}], "box 1: found .*accepted: {"),
        ([["cat", 0, 0, 1, 1]], "box 1: found"),
        ([{"label": True, "bbox": [0, 0, 1, 1]}], "label True; accepted: the name of a class, or its number"),
        ({"boxes": [], "size": 3}, "a mapping of boxes, size; accepted"),
        ({"boxes": [], "width": 3}, "width 3, height None; accepted: both"),
        ({"objects": []}, "a mapping of objects"),
    ],
)
def test_what_is_no_layout_says_what_one_is(layout: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        boxes.told(layout, (8, 8))


def test_places_begin_as_alike_as_they_are_near() -> None:
    """Cosines of their tokens against the closed form: sin a sin b + cos a cos b is cos(a - b), so that of two places
    it is the mean of cos(2 pi turns distance) over the waves of x and of y, 1 for a place and itself; it falls with
    the distance over the range in which a box is told from the next."""
    side, quarter = 32, 16
    table, positions = torch.randn(side**2 + 1, 4 * quarter), torch.zeros(8, 4 * quarter)
    first = table.clone()
    boxes.begin(table, positions, side**2 + 1, classes=5)
    spots = {name: boxes.place(x, y, side**2 + 1) for name, (x, y) in SPOTS.items()}
    turns = np.geomspace(0.25, side / 2, quarter)
    found = {}
    for name, spot in spots.items():
        found[name] = float(torch.cosine_similarity(table[spots["here"]], table[spot], dim=0))
        dx, dy = (
            (spot % side - spots["here"] % side) / (side - 1),
            (spot // side - spots["here"] // side) / (side - 1),
        )
        expected = (np.cos(2 * np.pi * turns * dx).mean() + np.cos(2 * np.pi * turns * dy).mean()) / 2
        assert found[name] == pytest.approx(expected, abs=1e-3), name
    assert found["here"] > found["next"] > found["near"] > found["far"]
    assert 0.7 < float(positions.std()) < 1.3
    torch.testing.assert_close(table[:5] - first[:5], _alone(side, quarter)[:5])


def _alone(side: int, quarter: int) -> torch.Tensor:
    table = torch.zeros(side**2 + 1, 4 * quarter)
    boxes.begin(table, torch.zeros(1, 4 * quarter), side**2 + 1, classes=0)
    return table


SPOTS = {"here": (0.5, 0.5), "next": (17 / 31, 0.5), "near": (0.6, 0.6), "far": (0.95, 0.9)}


@pytest.mark.parametrize(("vocabulary", "width"), [(3, 8), (101, 3)])
def test_where_there_are_no_places_or_no_room_for_waves_all_stays_as_drawn(vocabulary: int, width: int) -> None:
    table, positions = torch.randn(vocabulary, width), torch.randn(4, width)
    before = table.clone(), positions.clone()
    boxes.begin(table, positions, vocabulary, classes=1)
    assert torch.equal(table, before[0])
    assert torch.equal(positions, before[1])
