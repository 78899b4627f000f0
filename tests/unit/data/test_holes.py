"""If these fail, inpainting is trained on other holes than the published models, and does worse on theirs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydantic import ValidationError

from latentry.conditioning import CONDITIONERS, BuildContext, values_of
from latentry.conditioning.masked import MaskedOptions, build
from latentry.data.holes import KINDS, LARGEST_SHARE, _brushed, draw_hole
from latentry.data.sample import Boxes, Sample

COUNT = 150
# Chains at least and at most, widest brush, longest stroke; share of boxes, their number, sides and margin: the numbers
# of LaMa's random_thin_256, random_medium_256 and random_thick_256, of whose chains there may be one more.
PUBLISHED = {
    "thin": ((4, 51, 10, 40), 0.0, (1, 1, 1, 1, 0)),
    "medium": ((4, 6, 50, 100), 0.3, (1, 5, 10, 50, 0)),
    "wide": ((1, 6, 100, 200), 0.3, (1, 3, 30, 150, 10)),
}


def drawn(kind: str, side: int = 256, count: int = COUNT) -> np.ndarray:
    return np.stack([draw_hole(kind, side, side, np.random.default_rng(i)) for i in range(count)])


def by_pillow(kind: str, rng: np.random.Generator, side: int = 256) -> np.ndarray:
    """The same by another hand: Pillow's lines and discs in whole pixels, and the random numbers in another order."""
    (fewest, most, width, length), boxes, (few, many, short, long, margin) = PUBLISHED[kind]
    image = Image.new("1", (side, side))
    draw = ImageDraw.Draw(image)
    if rng.random() < boxes / (1 + boxes):
        for _ in range(rng.integers(few, many + 1)):
            w, h = rng.integers(short, long + 1, 2)
            x, y = rng.integers(margin, side - margin - w + 1), rng.integers(margin, side - margin - h + 1)
            draw.rectangle((x, y, x + w - 1, y + h - 1), fill=1)
        return np.array(image)
    for chain in range(rng.integers(fewest, most + 1)):
        x, y = rng.integers(side, size=2)
        for _ in range(1 + rng.integers(5)):
            angle = (-1 if chain % 2 == 0 else 1) * (0.01 + rng.integers(4))
            far, brush = 10 + rng.integers(length), 5 + rng.integers(width)
            to = [int(np.clip(v + far * f(angle), 0, side)) for v, f in ((x, math.sin), (y, math.cos))]
            draw.line((x, y, *to), fill=1, width=int(brush))
            for end in ((x, y), to):
                draw.ellipse([v + s * brush / 2 for s in (-1, 1) for v in end], fill=1)
            x, y = to
    return np.array(image)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_they_cover_as_much_of_the_image_as_the_published_ones(kind: str) -> None:
    """Mean, spread and the published bound of a half; medium holes are in fewer parts than thin ones."""
    rng = np.random.default_rng(0)
    others: list[float] = []
    while len(others) < COUNT:
        share = by_pillow(kind, rng).mean()
        others += [share] if 0 < share <= LARGEST_SHARE else []
    shares = drawn(kind).mean((1, 2))
    assert 0 < shares.min() <= shares.max() <= 0.5
    assert shares.mean() == pytest.approx(np.mean(others), abs=4 * np.std(others) / math.sqrt(COUNT))
    for q in (0.1, 0.5, 0.9):
        assert np.quantile(shares, q) == pytest.approx(np.quantile(others, q), abs=0.08)


@pytest.mark.parametrize("lines", ["any", "upright", "flat", "points", "whole numbers"])
def test_strokes_cover_what_is_near_their_lines(lines: str) -> None:
    """Against the distance of every pixel to every line; those within rounding of the brush's edge may be either."""
    rng = np.random.default_rng(0)
    for height, width in ((40, 70), (63, 5), (64, 64)):
        ends = rng.uniform(0, 1, (5, 4)) * [height, width, height, width]
        ends = np.round(ends) if lines == "whole numbers" else ends
        for same in {"upright": [1], "flat": [0], "points": [0, 1]}.get(lines, []):
            ends[:, same + 2] = ends[:, same]
        radii = np.round(rng.uniform(0.5, 9, 5), 1)
        y, x = np.mgrid[:height, :width]
        away = np.full((height, width), np.inf)
        for (top, left, bottom, right), radius in zip(ends, radii, strict=True):
            down, across = bottom - top, right - left
            share = np.clip(((y - top) * down + (x - left) * across) / max(down**2 + across**2, 1e-12), 0, 1)
            away = np.minimum(away, np.hypot(y - top - share * down, x - left - share * across) - radius)
        hole = _brushed(ends, radii, height, width)
        assert np.array_equal(hole[np.abs(away) > 1e-6], away[np.abs(away) > 1e-6] < 0)
        assert hole.any()
        assert not hole.all()


def test_thin_is_thinner_than_medium_and_medium_than_wide() -> None:
    """How far from known pixels the middle of a hole is."""
    from scipy.ndimage import distance_transform_edt

    deep = [np.median([distance_transform_edt(hole).max() for hole in drawn(kind, count=40)]) for kind in PUBLISHED]
    assert deep[0] < 0.7 * deep[1] < 0.6 * deep[2]


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
def test_a_small_image_has_the_holes_of_a_large_one(kind: str) -> None:
    small, large = drawn(kind, 64, 60).mean((1, 2)), drawn(kind, 256, 60).mean((1, 2))
    assert small.mean() == pytest.approx(large.mean(), abs=0.02)
    for height, width in ((1, 1), (3, 40), (8, 5)):
        hole = draw_hole(kind, height, width, np.random.default_rng(0))
        assert hole.shape == (height, width)
        assert hole.any()


def test_margins_reach_along_whole_sides() -> None:
    """4% to 25% deep, every side in about half of them, at least one."""
    holes = drawn("outpaint", 100, 400)
    sides = [holes[:, 0].all(1), holes[:, -1].all(1), holes[:, :, 0].all(1), holes[:, :, -1].all(1)]
    assert np.any(sides, 0).all()
    assert all(0.35 < side.mean() < 0.7 for side in sides)
    depth = (~holes).any(2).argmax(1)[sides[0]]
    assert 4 <= depth.min() <= 6 < 23 <= depth.max() <= 25
    assert not holes[:, 30:70, 30:70].any()


def test_the_same_generator_draws_the_same_hole_and_shares_decide_the_kind() -> None:
    def value(masks: object, position: int = 0) -> np.ndarray:
        conditioner = build(MaskedOptions.model_validate({"masks": masks}), BuildContext())
        sample = Sample(position, 0, pixels=np.zeros((32, 32, 3), np.uint8))
        found: np.ndarray = values_of({"m": conditioner}, 3, sample)["m"][1][0] == 1
        return found

    for masks in ("wide", "mixed", {"thin": 1, "outpaint": 2}):
        assert (value(masks) == value(masks)).all()
        assert any((value(masks) != value(masks, position)).any() for position in (1, 2))
    for position in range(30):
        assert not value({"outpaint": 1, "wide": 0}, position)[12:20, 12:20].any()


@pytest.mark.parametrize("masks", ["broad", {}, {"thin": 0}, {"thin": -1}, {"hexagons": 1}])
def test_masks_that_are_none_are_refused(masks: object) -> None:
    with pytest.raises(ValidationError):
        MaskedOptions.model_validate({"masks": masks})


def test_parts_of_objects_cut_a_box_from_one_side() -> None:
    """If this fails, a model learns background only: of a box a quarter to three quarters is hidden, over its whole
    breadth, and nothing further than 6% of the image around it."""
    boxes = np.array([[0.1, 0.2, 0.5, 0.6], [0.6, 0.5, 0.9, 0.9]], np.float32)
    places = [(slice(20, 60), slice(10, 50)), (slice(50, 90), slice(60, 90))]
    sides = set()
    for seed in range(200):
        hole = draw_hole("objects", 100, 100, np.random.default_rng(seed), boxes)
        inside = [hole[place] for place in places]
        cut, (rows, columns) = max(zip(inside, places, strict=True), key=lambda pair: pair[0].mean())
        assert 0.2 < cut.mean() < 0.8
        assert cut.all(0).any() or cut.all(1).any()
        far = np.ones_like(hole)
        far[max(0, rows.start - 7) : rows.stop + 7, max(0, columns.start - 7) : columns.stop + 7] = False
        assert not hole[far].any()
        edges = (cut[0].all(), cut[-1].all(), cut[:, 0].all(), cut[:, -1].all())
        sides.add((rows.start, edges))
    assert len(sides) == 2 * 4  # either box, from each side


def test_where_no_boxes_are_any_one_box_is_hidden() -> None:
    for boxes in (None, np.empty((0, 4), np.float32)):
        seeds = [np.random.default_rng(3) for _ in range(2)]
        assert (draw_hole("objects", 40, 40, seeds[0], boxes) == draw_hole("boxes", 40, 40, seeds[1])).all()


def test_a_condition_with_masks_of_objects_needs_boxes_and_reads_them() -> None:
    masked = CONDITIONERS["masked"]
    assert masked.needs(MaskedOptions.model_validate({"masks": {"wide": 1, "objects": 2}})) == {"image", "boxes"}
    assert masked.needs(MaskedOptions(masks="wide")) == {"image"}
    assert masked.needs(MaskedOptions()) == {"image", "mask"}
    corner = Boxes(np.array([[0, 0, 0.5, 0.5]], np.float32), ("thing",))
    sample = Sample(0, 0, pixels=np.zeros((64, 64, 3), np.uint8), boxes=corner)
    conditioner = build(MaskedOptions(masks="objects"), BuildContext())
    hole = values_of({"m": conditioner}, 3, sample)["m"][1][0] == 1
    assert hole[:32, :32].any()
    assert not hole[36:].any()
    assert not hole[:, 36:].any()
