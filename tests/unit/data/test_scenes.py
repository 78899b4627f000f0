"""If these fail, scenes lie about their shapes, or a seed no longer means one set."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from latentry.cli import run
from latentry.data import shapes
from latentry.data.dataset import ImageData
from latentry.data.options import DataOptions
from latentry.data.shapes.scenes import words
from latentry.errors import UsageError


@pytest.mark.parametrize("size", [64, 32, (64, 192)])
def test_boxes_map_and_colours_are_those_of_the_picture(size: int | tuple[int, int]) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    for scene in shapes.generate_scenes(60, size, seed=3):
        assert scene.image.shape == (height, width, 3)
        parts, count = ndimage.label(scene.semantic, np.ones((3, 3)))
        assert count == len(scene.things), "shapes touch, or one fell apart"
        found = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(parts), 1):
            here = parts == number
            (kind,) = np.unique(scene.semantic[here])
            colour = np.median(scene.image[here], axis=0)
            name = min(shapes.COLOURS, key=lambda c: np.abs(colour - shapes.COLOURS[c]).sum())
            box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
            found.append((list(shapes.SHAPES)[kind - 1], name, box))
        assert sorted(found) == sorted(map(tuple, scene.things))
        edge = np.concatenate([scene.semantic[[0, -1]].ravel(), scene.semantic[:, [0, -1]].ravel()])
        assert not edge.any(), "a shape touches the edge"


def test_number_place_and_size_vary_and_no_pair_comes_twice_in_an_image() -> None:
    scenes = list(shapes.generate_scenes(300))
    counts = Counter(len(scene.things) for scene in scenes)
    assert set(counts) == {1, 2}
    assert min(counts.values()) > 70
    things = [thing for scene in scenes for thing in scene.things]
    assert {thing.pair for thing in things} == set(shapes.PAIRS)
    assert all(len({thing.pair for thing in scene.things}) == len(scene.things) for scene in scenes)
    x, y, w, h = np.array([thing.bbox for thing in things]).T
    assert w.min() < 21
    assert w.max() > 48
    assert np.ptp(x + w / 2) > 30
    assert np.ptp(y + h / 2) > 30


def test_the_largest_comes_first_and_names_the_label() -> None:
    for scene in shapes.generate_scenes(40):
        assert scene.label == scene.things[0].shape
        assert scene.text == words([thing.pair for thing in scene.things])
    three = shapes.draw_scene(0, count=3, exclude=shapes.PAIRS[3:])
    assert {thing.pair for thing in three.things} == set(shapes.PAIRS[:3])
    assert words(["red star"]) == "a red star"
    assert words(["red star", "blue ring", "white cross"]) == "a red star, a blue ring and a white cross"


def test_scene_i_does_not_depend_on_how_many_are_made_and_seeds_differ() -> None:
    first, again = shapes.draw_scene(7), list(shapes.generate_scenes(9))[7]
    assert np.array_equal(first.image, again.image)
    assert first.things == again.things
    assert not np.array_equal(first.image, shapes.draw_scene(7, seed=1).image)


def test_the_command_writes_a_folder_that_tells_the_truth_and_trains_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert run(["data", "shapes", "--out", str(out), "--count", "8", "--seed", "5", "--size", "32x48", "--scenes"]) == 0
    lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    options = DataOptions(
        size=(32, 48), text="text", label="label", boxes="objects", semantic="semantic", held_out=0,
        where={"count": [1, 2, 3]},
    )  # fmt: skip
    data = ImageData(options, out)
    for index, (line, scene) in enumerate(zip(lines, shapes.generate_scenes(8, (32, 48), seed=5), strict=True)):
        assert np.array_equal(np.asarray(Image.open(out / line["file_name"])), scene.image)
        assert (line["text"], line["label"], line["count"]) == (scene.text, scene.label, len(scene.things))
        sample = data.sample(index, frozenset({"image", "caption", "label", "boxes", "semantic"}))
        assert (sample.caption, sample.label) == (scene.text, scene.label)
        assert sample.semantic is not None
        assert np.array_equal(sample.semantic, scene.semantic)
        corners = np.array([[x, y, x + w, y + h] for _, _, (x, y, w, h) in scene.things]) / (48, 32, 48, 32)
        assert sample.boxes is not None
        assert np.allclose(sample.boxes.corners, corners)
        assert sample.boxes.names == tuple(thing.shape for thing in scene.things)


def test_the_set_of_one_shape_is_what_it_always_was(tmp_path: Path) -> None:
    """Its pictures, not the files: libraries pack PNG differently."""
    digest = hashlib.sha256()
    for drawing in shapes.generate(24, (48, 64), seed=3):
        digest.update(drawing.image.tobytes() + drawing.semantic.tobytes() + repr(drawing.bbox).encode())
    assert digest.hexdigest() == "0a046f229fd43760db96f19a83125102931f426b2bec3f8c2538e6560a14f3e2"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"size": 16}, "at least 32"),
        ({"exclude": ("red stra",)}, 'did you mean "red star"'),
        ({"exclude": shapes.PAIRS[2:]}, "at least 3 pairs"),
        ({"count": 4}, "1 to 3 shapes"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(arguments: dict[str, object], part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        shapes.draw_scene(0, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
