"""If these fail, the set's captions, boxes or maps lie about its images, or a seed no longer means one set."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentry.data import shapes
from latentry.data.dataset import ImageData
from latentry.data.options import DataOptions
from latentry.errors import UsageError

AREAS = {"circle": np.pi * 0.88**2, "square": 1.44**2, "cross": 4 * 0.3 * 0.93 * 2 - 0.6**2, "triangle": 3**1.5 / 4}
RING = np.pi * (0.92**2 - 0.52**2)
STAR = 10 * 0.5 * 1 * 0.42 * np.sin(np.pi / 5)


def digest(folder: Path) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return hashlib.sha256(b"".join(str(p.relative_to(folder)).encode() + p.read_bytes() for p in files)).hexdigest()


@pytest.mark.parametrize(("shape", "area"), [*AREAS.items(), ("ring", RING), ("star", STAR)])
def test_a_shape_has_the_area_that_geometry_gives_it_at_any_turn(shape: str, area: float) -> None:
    for turn in (0.0, 0.2, 1.3):
        found = shapes.coverage(shape, 200, 240, 118.3, 101.7, 90, turn).sum() / 90**2
        assert found == pytest.approx(area, rel=0.01)


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_a_shape_stays_within_its_disk_so_that_no_image_cuts_it(shape: str) -> None:
    cover = shapes.coverage(shape, 128, 128, 64, 64, 50, 0.3)
    rows, columns = np.nonzero(cover)
    assert np.hypot(rows + 0.5 - 64, columns + 0.5 - 64).max() <= 50 * 1.035 + 1


@pytest.mark.parametrize("size", [64, 32, (96, 64)])
def test_box_map_and_colour_are_those_of_the_picture(size: int | tuple[int, int]) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    for drawing in shapes.generate(96, size, seed=3):
        assert drawing.image.shape == (height, width, 3)
        x, y, w, h = drawing.bbox
        rows, columns = np.nonzero(drawing.semantic)
        assert (x, y, x + w, y + h) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert min(x, y, width - x - w, height - y - h) > 0, "the shape touches the edge"
        assert set(np.unique(drawing.semantic)) == {0, 1 + list(shapes.SHAPES).index(drawing.shape)}
        far = np.abs(drawing.image.astype(int) - shapes.COLOURS[drawing.colour]).max(-1)
        assert np.median(far[drawing.semantic > 0]) == 0
        assert far[drawing.semantic == 0].min() > 0
        border = drawing.image[0].mean(0)
        nearest = min(shapes.BACKGROUNDS, key=lambda name: np.abs(border - shapes.BACKGROUNDS[name]).sum())
        assert nearest == drawing.background


def test_every_pair_comes_equally_often_and_an_excluded_one_never() -> None:
    unseen = ("red star", "blue ring", "white cross")
    counts = Counter(d.pair for d in shapes.generate(5 * (48 - len(unseen)), 16, exclude=unseen))
    assert set(counts.values()) == {5}
    assert set(counts) == set(shapes.PAIRS) - set(unseen)


def test_image_i_does_not_depend_on_how_many_are_made_and_seeds_differ() -> None:
    first, again = shapes.draw(7), list(shapes.generate(9))[7]
    assert np.array_equal(first.image, again.image)
    assert first.text == again.text
    assert not np.array_equal(first.image, shapes.draw(7, seed=1).image)


def test_an_image_of_any_pair_can_be_asked_for() -> None:
    drawing = shapes.draw(0, shape="star", colour="pink")
    assert (drawing.text, drawing.pair) == ("a pink star", "pink star")


def test_the_folder_is_the_same_bytes_each_time_and_tells_the_truth(tmp_path: Path) -> None:
    shapes.write(tmp_path / "a", 12, size=32, seed=5)
    shapes.write(tmp_path / "b", 12, size=32, seed=5)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    lines = [json.loads(line) for line in (tmp_path / "a" / "metadata.jsonl").read_text().splitlines()]
    assert len(lines) == 12
    for line, drawing in zip(lines, shapes.generate(12, 32, seed=5), strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / line["file_name"])), drawing.image)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / line["semantic"])), drawing.semantic)
        assert line["text"] == f"a {line['pair']}" == f"a {line['colour']} {line['shape']}"
        assert line["label"] == line["shape"]
        assert line["objects"] == {"bbox": [list(drawing.bbox)], "categories": [line["shape"]]}


def test_the_folder_trains_as_it_is_and_no_map_is_taken_for_an_image(tmp_path: Path) -> None:
    shapes.write(tmp_path, 40, size=16)
    options = DataOptions(size=16, text="text", label="shape", where={"colour": ["red", "blue"]}, held_out=0)
    data = ImageData(options, tmp_path)
    drawn = {d.text: d for d in shapes.generate(40, 16) if d.colour in ("red", "blue")}
    assert sorted(data.captions()) == sorted(drawn)
    for index in range(len(data)):
        sample = data.sample(index)
        assert sample.label == drawn[sample.caption].shape
        assert np.array_equal(
            ((sample.image + 1) * 127.5).round().permute(1, 2, 0).numpy(), drawn[sample.caption].image
        )


def test_four_thousand_images_take_seconds() -> None:
    begun = time.process_time()
    assert sum(1 for _ in shapes.generate(400)) == 400
    assert time.process_time() - begun < 1.5


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"count": 0}, "at least 1"),
        ({"count": 1, "size": 4}, "at least 8"),
        ({"count": 1, "exclude": ("red stra",)}, 'did you mean "red star"'),
        ({"count": 1, "exclude": shapes.PAIRS}, "at least one must stay"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(tmp_path: Path, arguments: dict[str, object], part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        shapes.write(tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
