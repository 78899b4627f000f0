"""`data check`: every bad file with path and reason, in one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from latentry.data.folders.check import check
from latentry.errors import UsageError
from tests.unit.data.files import empty_png, flat, metadata, noise, numbered, options, plain_png


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Row 7 of the faults: one of each, beside ten good ones."""
    numbered(tmp_path, 10, size=32)
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "truncated.jpg")
    whole = (tmp_path / "truncated.jpg").read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    flat(tmp_path / "x.png", size=(32, 32)).rename(tmp_path / "actually_png.jpg")
    flat(tmp_path / "cmyk.jpg", (0, 255, 255, 0), (32, 32), "CMYK")
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.save(tmp_path / "palette.png", transparency=0)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 32)).save(tmp_path / "rotated.jpg", exif=exif)
    frames = [Image.new("RGB", (32, 32), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    flat(tmp_path / "dot.png", size=(1, 1))
    (tmp_path / "bomb.png").write_bytes(empty_png(12000, 12000))
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    return tmp_path


def test_every_bad_file_is_listed_with_its_reason_in_one_pass(zoo: Path) -> None:
    """Finding them one failed run at a time costs a night each."""
    report = check(zoo)
    bad, notes = dict(report.bad), dict(report.notes)
    assert set(bad) == {"truncated.jpg", "empty.png", "text.png", "bomb.png"}
    assert "truncated" in bad["truncated.jpg"]
    assert bad["empty.png"] == "empty file"
    assert "not an image" in bad["text.png"]
    assert "144000000 pixels" in bad["bomb.png"]
    assert notes["actually_png.jpg"] == "named .jpg but is PNG: read by its content"
    assert "CMYK" in notes["cmyk.jpg"]
    assert "palette with transparency" in notes["palette.png"]
    assert "EXIF-rotated" in notes["rotated.jpg"]
    assert "only the first" in notes["animated.gif"]
    assert "1x1" in notes["dot.png"]
    assert "loop" in notes["loop"]
    assert not any("DS_Store" in path for path in (*bad, *notes))
    assert not report.ok
    assert report.images == 20
    assert report.sizes[32, 40] == 1


def test_against_a_recipe_the_too_small_counts_as_bad(zoo: Path) -> None:
    """What training would refuse, the check must refuse."""
    report = check(zoo, options(size=32))
    assert "too small" in dict(report.bad)["dot.png"]
    assert report.split.total() == 20


def test_mixtures_are_odd_without_a_recipe_and_wrong_with_one(tmp_path: Path) -> None:
    """A 4-band file among 3-band ones, 16 bit among 8."""
    numbered(tmp_path, 5)
    tifffile.imwrite(tmp_path / "four.tif", noise(8, 8, 4), photometric="rgb")
    (tmp_path / "deep.png").write_bytes(plain_png(noise(8, 8, 3, 16)))
    report = check(tmp_path)
    assert ("four.tif", "4 colour channels, where most have 3") in report.notes
    assert ("deep.png", "16 bits a channel, where most have 8") in report.notes
    assert report.ok
    strict = check(tmp_path, options(size=8))
    assert dict(strict.bad)["four.tif"] == "4 channels, but data.channels is 3"
    assert "deep.png (16-bit)" in strict.problems[0]


def test_float_with_nan_missing_files_and_fields_are_all_told_at_once(tmp_path: Path) -> None:
    """Problems of the folder and of its files come in one report."""
    values = np.full((16, 16), 0.5, dtype=np.float32)
    values[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", values)
    numbered(tmp_path, 2)
    metadata(tmp_path, [{"file_name": "nan.tif", "text": "x"}, {"file_name": "gone.png"}])
    report = check(tmp_path, options(label="labl"))
    assert dict(report.bad) == {"nan.tif": "1 values are not finite (NaN or infinity)"}
    assert any("gone.png" in problem for problem in report.problems)
    assert any('"labl"' in problem for problem in report.problems)
    with pytest.raises(UsageError, match="does not exist"):
        check(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no images found" in check(tmp_path / "empty").problems[0]


def test_counts_of_labels_captions_and_fields(tmp_path: Path) -> None:
    """What a user looks at before choosing a recipe."""
    rows = [
        {"file_name": p.name, "text": "a" if n else None, "kind": n % 2} for n, p in enumerate(numbered(tmp_path, 5))
    ]
    metadata(tmp_path, rows[:4])
    seen: list[tuple[int, int]] = []
    report = check(tmp_path, options(size=8, text="text", label="kind"), lambda done, total: seen.append((done, total)))
    assert report.fields == {"text": 3, "kind": 4}
    assert report.labels == {"0": 2, "1": 2}
    assert (report.captions, report.empty_captions, report.unlisted) == (4, 1, 1)
    assert seen[-1] == (4, 4)
    assert report.ok


def test_maps_and_boxes_are_looked_at_with_a_recipe_that_names_them(tmp_path: Path) -> None:
    """A map of the wrong size would only be met in the middle of training."""
    for n in range(3):
        flat(tmp_path / f"{n}.png")
        flat(tmp_path / f"{n}_map.png", n, (16, 16 - n // 2), "L")
    rows = [{"file_name": f"{n}.png", "map": f"{n}_map.png", "objects": {"bbox": [], "category": []}} for n in range(3)]
    metadata(tmp_path, rows)
    report = check(tmp_path, options(size=8, semantic="map", boxes="objects"))
    assert report.bad == [("2_map.png", "is 16x15 pixels, but its image 2.png is 16x16")]
    assert check(tmp_path, options(size=8)).ok
    metadata(tmp_path, [row | {"objects": 3} for row in rows])
    assert "objects is 3" in check(tmp_path, options(size=8, boxes="objects")).problems[0]
