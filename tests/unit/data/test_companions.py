"""If these fail, masks are trained on like pictures, or most of each picture is cut away, without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from latentry.data.folders.check import check
from latentry.data.folders.records import read_folder, real_root
from tests.unit.data.files import options


def draw(root: Path, *names: str, size: tuple[int, int] = (8, 8)) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(root / name)
    return root


@pytest.mark.parametrize(
    ("names", "count", "first"),
    [
        (["0.png", "0_mask.png", "1.png", "1-seg.png"], 2, "0_mask.png"),
        (["a/0.png", "a/0.gt.png", "a/1.png"], 1, "a/0.gt.png"),
        (["images/0.png", "images/1.png", "masks/0.png", "masks/1.png"], 2, "masks/0.png"),
        (
            ["x/img/0.jpg", "x/SegmentationMasks/0.png", "x/depth_maps/0.png", "x/class_labels/0.png"],
            1,
            "x/class_labels/0.png",
        ),
    ],
)
def test_masks_beside_their_images_are_named(names: list[str], count: int, first: str, tmp_path: Path) -> None:
    told = read_folder(real_root(draw(tmp_path, *names)), options(size=8)).remarks.read
    assert len(told) == 1
    assert told[0].startswith(
        f"{count} of {len(names)} images are named like masks or maps of others (first: {first}) and are trained on"
    )


@pytest.mark.parametrize(
    "names",
    [["0.png", "1_mask.png"], ["masks/0.png", "masks/1.png"], ["venice mask.png", "oslo.png"], ["seg.png", "a.png"]],
)
def test_pictures_of_masks_are_pictures(names: list[str], tmp_path: Path) -> None:
    assert read_folder(real_root(draw(tmp_path, *names)), options(size=8)).remarks.read == []


@pytest.mark.parametrize(
    ("size", "changes", "share"),
    [
        ((40, 8), {}, "20%"),
        ((8, 40), {}, "20%"),
        ((12, 8), {}, ""),
        ((40, 8), {"crop": "pad"}, ""),
        ((40, 8), {"crop": "random"}, ""),
    ],
)
def test_that_most_of_the_images_is_cut_away_is_told(
    size: tuple[int, int], changes: dict[str, str], share: str, tmp_path: Path
) -> None:
    draw(tmp_path, *(f"{n}.png" for n in range(5)), size=size)
    told = check(tmp_path, options(size=8, **changes)).warnings
    if not share:
        assert told == []
        return
    assert len(told) == 1
    assert told[0].startswith(
        f"most of each image is cut away: of one {size[0]} wide and {size[1]} high the middle {share} is left for 8x8. "
    )


@pytest.mark.parametrize(
    ("names", "maps"),
    [
        (
            ["img/0.jpg", "img/1.jpg", "labels/0.png", "labels/1.png"],
            {"img/0.jpg": "labels/0.png", "img/1.jpg": "labels/1.png"},
        ),
        (["0.png", "1.png", "labels/0.png"], {"0.png": "labels/0.png", "1.png": None}),
        (["0.png", "0_labels.png", "x labels.png"], {"0.png": "0_labels.png", "x labels.png": None}),
        (
            ["train/a/0.png", "train/Labels/0.png", "val/a/0.png", "val/Labels/0.png"],
            {"train/a/0.png": "train/Labels/0.png", "val/a/0.png": "val/Labels/0.png"},
        ),
    ],
)
def test_maps_in_a_folder_that_the_recipe_names_are_no_images(
    names: list[str], maps: dict[str, str | None], tmp_path: Path
) -> None:
    """Trained on like pictures, they would be drawn like pictures."""
    folder = read_folder(real_root(draw(tmp_path, *names)), options(size=8, semantic="labels"))
    assert {record.path: record.fields.get("labels") for record in folder.records} == maps
    assert folder.unlisted == []
