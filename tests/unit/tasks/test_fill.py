"""If these fail, known pixels of an image change, a wrong mask is believed, or an image comes back at another size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from latentry.data.files import images
from latentry.errors import UsageError
from latentry.tasks.inputs.filling import pasted
from latentry.tasks.inputs.window import around, whole
from tests.unit.pipeline.small_pipelines import pipeline

DRAW = np.random.default_rng(0)
FAST: dict[str, Any] = {"steps": 2, "resample": 1}


def written(path: Path, kind: str, height: int = 21, width: int = 27, channels: int = 3) -> np.ndarray[Any, Any]:
    """A file of noise of a numpy type, and what is in it (H, W, C)."""
    pixels = DRAW.integers(0, np.iinfo(kind).max, (height, width, channels), dtype=kind, endpoint=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb")
    else:
        images.save(path, pixels / np.iinfo(kind).max, 8 * pixels.itemsize)
    return pixels


@pytest.mark.parametrize(("kind", "suffix"), [("uint8", ".png"), ("uint16", ".png"), ("uint16", ".tif")])
@pytest.mark.parametrize("conditions", ["both", "masked"])
def test_every_known_pixel_is_the_inputs_in_the_output_and_in_its_files(
    kind: str, suffix: str, conditions: str, tmp_path: Path
) -> None:
    """To the last of 16 bits, from a model of 8 bits, at a size that does not fit; and the hole is new."""
    pixels = written(tmp_path / f"in{suffix}", kind)
    out = pipeline(conditions=conditions).run("inpaint", file=tmp_path / f"in{suffix}", box=["5,6,7,8"], n=2, **FAST)
    known = np.ones(pixels.shape[:2], bool)
    known[6:14, 5:12] = False
    for index, array in enumerate(out.arrays):
        assert array.dtype == kind
        assert (array[known] == pixels[known]).all()
        assert (array[~known] != pixels[~known]).any()
        (file,) = out.only(index).save(tmp_path / f"out-{index}{suffix}")
        assert (images.read(file) == array).all()
    assert (out.arrays[0] != out.arrays[1]).any()


def test_grey_files_and_files_of_another_depth_come_back_too(tmp_path: Path) -> None:
    grey = DRAW.integers(0, 256, (16, 20), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "g.png")
    (array,) = pipeline(depth=16).run("outpaint", file=tmp_path / "g.png", right=5, top=3, **FAST).arrays
    assert array.shape == (19, 25, 3)
    assert array.dtype == np.uint8
    assert (array[3:, :20] == grey[..., None]).all()


def test_plain_is_what_the_decoder_gives(tmp_path: Path) -> None:
    pixels = written(tmp_path / "in.png", "uint8", 16, 16)
    (array,) = pipeline().run("inpaint", file=tmp_path / "in.png", box=["5,6,7,8"], keep_known=False, **FAST).arrays
    assert (array[:4] != pixels[:4]).mean() > 0.5


def test_the_hole_is_shifted_to_meet_what_is_around_it_and_nothing_else_changes() -> None:
    """What was drawn 0.3 too dark leaves no seam, though the surroundings are a slope."""
    slope = torch.linspace(-0.5, 0.5, 32).expand(3, 32, 32).clone()
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[8:24, 8:24] = True
    place = whole((32, 32), 8)
    (result,) = pasted(slope, hole, place, (slope - 0.3)[None], reach=8.0)
    assert (result[:, ~hole] == slope[:, ~hole]).all()
    seams = (result[:, 8:24, 8] - result[:, 8:24, 7]).abs()
    assert float(seams.max()) < 0.1  # of the 0.3 that it was
    assert float((result - slope)[:, 15, 15].abs().max()) < 0.3
    (far,) = pasted(slope, hole, place, (slope - 0.3)[None], reach=1e6)
    torch.testing.assert_close(far, slope, atol=2e-3, rtol=0)


def test_a_small_hole_in_a_large_image_is_seen_through_a_window() -> None:
    hole = torch.zeros(300, 500, dtype=torch.bool)
    hole[290:296, 100:140] = True
    place = around(hole, 16, (64, 64))
    assert place.size == (64, 80)
    assert (place.top, place.left) == (236, 80)
    assert place.cut(hole).sum() == hole.sum()
    small = around(hole[250:, :150], 16, (64, 64))
    assert (small.height, small.width, small.size) == (50, 80, (64, 80))
    assert small.uncut(small.cut(hole[250:, :150])).shape == (50, 80)


def test_a_mask_file_transparency_and_boxes_are_the_same_hole(tmp_path: Path) -> None:
    pixels = written(tmp_path / "in.png", "uint8", 16, 16)
    hole = np.zeros((16, 16), np.uint8)
    hole[2:6, 3:9] = 255
    Image.fromarray(hole).save(tmp_path / "mask.png")
    Image.fromarray(hole > 0).save(tmp_path / "one_bit.png")
    Image.fromarray(np.dstack([pixels, 255 - hole])).save(tmp_path / "clear.png")
    pipe, expected = pipeline(), None
    ways: list[dict[str, Any]] = [
        {"box": [[3, 2, 6, 4]]},
        {"mask": tmp_path / "mask.png"},
        {"mask": tmp_path / "one_bit.png"},
        {},
    ]
    for how in ways:
        file = tmp_path / ("in.png" if how else "clear.png")
        (array,) = pipe.run("inpaint", file=file, **how, **FAST).arrays
        assert (array[hole == 0] == pixels[hole == 0]).all()
        expected = array if expected is None else expected
        assert (array == expected).all()


@pytest.mark.parametrize(
    ("size", "value", "said"),
    [
        ((16, 12), 255, r"m.png: a mask of 16x12 pixels \(height x width\) for an image of 16x16; accepted"),
        ((16, 16), 0, r"m.png: nothing to fill; accepted: a mask with white"),
        ((16, 16), 255, r"m.png: the whole image is to be filled"),
    ],
)
def test_masks_that_cannot_be_are_told(size: tuple[int, int], value: int, said: str, tmp_path: Path) -> None:
    written(tmp_path / "in.png", "uint8", 16, 16)
    Image.fromarray(np.full(size, value, np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(UsageError, match=said):
        pipeline().run("inpaint", file=tmp_path / "in.png", mask=tmp_path / "m.png")


def test_an_inverted_mask_is_noted(tmp_path: Path) -> None:
    written(tmp_path / "in.png", "uint8", 16, 16)
    mask = np.full((16, 16), 255, np.uint8)
    mask[:3, :3] = 0
    Image.fromarray(mask).save(tmp_path / "m.png")
    out = pipeline().run("inpaint", file=tmp_path / "in.png", mask=tmp_path / "m.png", **FAST)
    (note,) = out.notes
    assert "96% of the image is to be filled" in note


@pytest.mark.parametrize(
    ("task", "options", "said"),
    [
        ("inpaint", {}, "no hole was given, and the image is opaque; accepted: --mask FILE"),
        ("inpaint", {"box": ["10,0,7,4"]}, "--box 10,0,7,4: leaves the image, which is 16 wide and 16 high"),
        ("inpaint", {"box": ["1,2,3"]}, r'box: found "1,2,3"; accepted: X,Y,WIDTH,HEIGHT'),
        ("inpaint", {"box": ["1,2,0,3"]}, "accepted: X,Y,WIDTH,HEIGHT"),
        ("inpaint", {"box": ["1,2,3,4"], "resample": 0}, "resample: found 0"),
        ("outpaint", {}, "no side to continue; give pixels to add, as in --left 64"),
        ("outpaint", {"left": 131060}, "would become 16x131076; sides are at most 131072"),
    ],
)
def test_bad_requests_are_told_before_anything_is_drawn(
    task: str, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    written(tmp_path / "in.png", "uint8", 16, 16)
    with pytest.raises(UsageError, match=said):
        pipeline().run(task, file=tmp_path / "in.png", **options)
