"""If these fail, the figures of layouts, maps, holes and enlargements are about the judge and not about the model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from latentry.data.shapes import SHAPES, Scene, generate, generate_scenes
from latentry.errors import UsageError
from latentry.metrics import JUDGES
from latentry.metrics.maps import mean_iou
from latentry.metrics.scenes import UNKNOWN, Found, Seen, areas, components, largest, look
from tests.unit.metrics.test_shapes_judge import blurred, noisy

COUNT = 100


@cache
def drawn(size: int | tuple[int, int], count: int = COUNT) -> tuple[list[Scene], Tensor]:
    truth = list(generate_scenes(count, size, seed=11))
    return truth, torch.from_numpy(np.stack([scene.image for scene in truth])).movedim(-1, 1) / 255


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Of two boxes, by counting the pixels of both."""
    maps = np.zeros((2, 200, 200), bool)
    for map_, (x, y, w, h) in zip(maps, (one, other), strict=True):
        map_[y : y + h, x : x + w] = True
    return float((maps[0] & maps[1]).sum() / (maps[0] | maps[1]).sum())


def is_right(seen: Seen, scene: Scene, least: float) -> bool:
    """Every shape found once, with its name, its colour and its place, and nothing else."""

    def same(found: Found, index: int) -> bool:
        thing = scene.things[index]
        names = (found.shape, found.colour) == (thing.shape, thing.colour)
        return names and overlap(found.bbox, thing.bbox) >= least

    orders = itertools.permutations(range(len(scene.things)))
    return len(seen.things) == len(scene.things) and any(all(map(same, seen.things, order)) for order in orders)


def share_right(images: Tensor, truth: list[Scene], least: float) -> tuple[float, float]:
    """(share of images that are read rightly, mean overlap of the maps)."""
    seen = look(images)
    right = sum(map(is_right, seen, truth, itertools.repeat(least))) / len(truth)
    maps = [mean_iou(s.semantic, torch.from_numpy(d.semantic)) for s, d in zip(seen, truth, strict=True)]
    return right, sum(maps) / len(maps)


@pytest.mark.parametrize(("size", "count"), [(64, COUNT), (128, 30), ((64, 192), 50)])
def test_real_scenes_are_read_rightly(size: int | tuple[int, int], count: int) -> None:
    truth, real = drawn(size, count)
    right, maps = share_right(real, truth, 0.9)
    assert right >= 0.99
    assert maps >= 0.995


@pytest.mark.parametrize(
    "spoil",
    [lambda x: noisy(x, 0.03), lambda x: noisy(blurred(x, 0.7), 0.02), lambda x: noisy(x * 0.92 + 0.04, 0.02)],
    ids=["noise", "blur and noise", "faded"],
)
def test_scenes_as_a_first_stage_gives_them_back_are_read_rightly(spoil: Callable[[Tensor], Tensor]) -> None:
    """At 30 to 35 dB. The tips of small shapes are gone by then, so that a box of 15 pixels can be one smaller."""
    truth, real = drawn(64)
    again = spoil(real).clamp(0, 1)
    assert 29 < peak_signal_noise_ratio(real.numpy(), again.numpy(), data_range=1) < 36
    right, maps = share_right(again, truth, 0.7)
    assert right >= 0.99
    assert maps >= 0.98


def records(truth: list[Scene]) -> list[dict[str, Any]]:
    return [{"text": scene.text, "label": scene.label} for scene in truth]


def test_the_judge_of_recipes_is_right_on_real_scenes_and_wrong_on_others() -> None:
    """A caption is right where just its pairs are shown; a class where it is that of the largest disk."""
    truth, real = drawn(64)
    judge, told = JUDGES["scenes"], records(truth)
    judge.check(3, told)
    figures = judge.score(real, told)
    assert min(figures.values()) >= 0.99
    assert figures.keys() == {"shape_and_colour", "shape", "label"}
    others = judge.score(real.roll(1, 0), told)
    assert others["shape_and_colour"] < 0.05
    assert others["label"] < 0.4  # one of six by chance
    swapped = judge.score(real.flip(1), told)  # red for blue
    assert swapped["shape_and_colour"] < 0.5 < 0.99 <= swapped["shape"]
    assert "label" not in judge.score(real[:2], [{"text": scene.text} for scene in truth[:2]])


def test_areas_are_those_of_geometry() -> None:
    """Of a disk, and of an equilateral triangle in it: the largest shape is else another one."""
    assert areas()["circle"] == pytest.approx(np.pi * 0.88**2, rel=0.01)
    assert areas()["triangle"] == pytest.approx(3 * 3**0.5 / 4, rel=0.01)
    flat = Seen((), torch.zeros(4, 4))
    assert largest(flat) is None


@pytest.mark.parametrize("text", ["a photo", "", "a red star, a thing and a blue ring", "a star"])
def test_a_caption_of_no_scene_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="known: a colour"):
        JUDGES["scenes"].check(3, [{"text": text}])


def test_other_images_and_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="1 channels"):
        JUDGES["scenes"].check(1, [])
    with pytest.raises(UsageError, match="2 images and 1 records"):
        JUDGES["scenes"].score(torch.zeros(2, 3, 64, 64), [{"text": "a red star"}])


def test_one_large_shape_is_read_as_well() -> None:
    truth = list(generate(100, 64, seed=3))
    seen = look(torch.from_numpy(np.stack([d.image for d in truth])).movedim(-1, 1) / 255)
    right = [
        [(f.shape, f.colour) for f in s.things] == [(d.shape, d.colour)] and overlap(s.things[0].bbox, d.bbox) >= 0.9
        for s, d in zip(seen, truth, strict=True)
    ]
    assert sum(right) >= 99


def test_what_is_no_known_shape_is_something_unknown_and_a_flat_image_is_empty() -> None:
    image = torch.full((1, 3, 64, 64), 0.5)
    assert not any(seen.things for seen in look(torch.cat((image, image * math.nan))))
    image[..., 10:16, 5:60] = torch.tensor([0.84, 0.13, 0.15])[:, None, None]
    (seen,) = look(image)
    assert [(found.shape, found.colour, found.bbox) for found in seen.things] == [(None, "red", (5, 10, 55, 6))]
    assert seen.semantic.unique().tolist() == [UNKNOWN, 0]


def test_numbers_of_the_map_are_those_of_the_data() -> None:
    truth, real = drawn(64, 20)
    for seen, scene in zip(look(real), truth, strict=True):
        assert set(seen.semantic.unique().tolist()) == {0, *(1 + list(SHAPES).index(t.shape) for t in scene.things)}


def test_parts_are_those_of_scipy() -> None:
    masks = np.random.default_rng(0).random((4, 24, 40)) < 0.45
    for mask, numbers in zip(masks, components(torch.from_numpy(masks)).numpy(), strict=True):
        known, count = ndimage.label(mask, np.ones((3, 3)))
        pairs = set(zip(known.ravel().tolist(), numbers.ravel().tolist(), strict=True))
        assert len(pairs) == count + 1, "the two numberings are not one to one"
        assert (0, 0) in pairs
