"""Samples by place: exact pixels, an order that depends on nothing but the seed, and bad files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from latentry.data.dataset import ImageData, Pick
from latentry.data.files import images
from latentry.errors import LatentryError, UsageError
from tests.unit.data.files import flat, metadata, noise, numbered, options, plain_png


def number_of(image: torch.Tensor) -> int:
    return round((float(image[0, 0, 0]) + 1) * 127.5)


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_16_bits_in_are_16_bits_out(tmp_path: Path, channels: int) -> None:
    """File to sample to file, non-square: not one bit may go, for PNG and for many-band TIFF."""
    pixels = noise(96, 64, channels, 16)
    if channels == 5:
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    else:
        (tmp_path / "a.png").write_bytes(plain_png(pixels))
    data = ImageData(options(size=[96, 64], channels=channels, held_out=0), tmp_path)
    image = data.sample(0).image
    assert image.shape == (channels, 96, 64)
    assert image.dtype == torch.float32
    assert [float(image.min()), float(image.max())] == [-1, 1]
    assert data.depth == 16
    out = images.save(
        tmp_path / ("out.tif" if channels == 5 else "out.png"), (image.numpy().transpose(1, 2, 0) + 1) / 2, 16
    )
    np.testing.assert_array_equal(images.read(out), pixels)


def test_each_pass_draws_every_image_once_in_a_new_order(tmp_path: Path) -> None:
    """Repeated or skipped images are what a broken sampler looks like."""
    numbered(tmp_path, 30)
    data = ImageData(options(size=8, held_out=0), tmp_path, seed=5)
    drawn = [data.pick(p).index for p in range(90)]
    passes = [drawn[i : i + 30] for i in (0, 30, 60)]
    assert all(sorted(one) == list(range(30)) for one in passes)
    assert passes[0] != passes[1] != passes[2] != list(range(30))
    again = ImageData(options(size=8, held_out=0), tmp_path, seed=5)
    assert [again.pick(p).index for p in reversed(range(90))] == drawn[::-1]
    other = ImageData(options(size=8, held_out=0), tmp_path, seed=6)
    assert [other.pick(p).index for p in range(30)] != passes[0]


def test_balance_draws_each_value_equally_often_at_every_moment(tmp_path: Path) -> None:
    """Two thirds of the emoji are people; unbalanced, the model draws people."""
    kinds = ["rare"] * 3 + ["mid"] * 7 + ["many"] * 50
    metadata(tmp_path, [{"file_name": p.name, "kind": k} for p, k in zip(numbered(tmp_path, 60), kinds, strict=True)])
    data = ImageData(options(size=8, held_out=0, balance="kind", label="kind"), tmp_path)
    drawn = [data.pick(p).index for p in range(180)]
    for end in range(3, 181, 3):
        assert set(Counter(data.label(i) for i in drawn[:end]).values()) == {end // 3}
    within = Counter(i for i in drawn if data.labels[data.label(i)] == "rare")
    assert set(within.values()) == {20}
    assert len({tuple(data.label(i) for i in drawn[k : k + 3]) for k in range(0, 180, 3)}) > 3


def test_flips_and_crops_belong_to_the_place(tmp_path: Path) -> None:
    """Resuming must not re-roll them; half of all draws are mirrored, whatever the image."""
    for n in range(6):
        (tmp_path / f"{n}.png").write_bytes(plain_png(noise(8, 12, 3, seed=n)))
    data = ImageData(options(size=8, held_out=0, flip=True, crop="random"), tmp_path, seed=1)
    places = [data.pick(p) for p in range(400)]
    assert 160 < sum(place.flip for place in places) < 240
    assert {place.crop.x < 0.5 for place in places if place.index == 0} == {True, False}
    place = next(p for p in places if p.flip)
    mirrored = data.load(place)
    straight = data.load(Pick(place.position, place.index, False, place.crop))
    assert mirrored.flip
    assert not straight.flip
    assert torch.equal(mirrored.image, straight.image.flip(-1))
    whole = images.read(data.root / data.records[place.index].path)
    shifts = [whole[:, x : x + 8] for x in range(5)]
    got = ((straight.image.numpy().transpose(1, 2, 0) + 1) * 127.5).round().astype(np.uint8)
    assert sum(np.array_equal(got, shift) for shift in shifts) == 1
    assert not data.sample(0).flip


def test_text_label_and_metadata_follow_the_image(tmp_path: Path) -> None:
    """A caption of the neighbour is worse than none."""
    rows = [
        {"file_name": p.name, "text": f"number {n}", "kind": "ab"[n % 2]} for n, p in enumerate(numbered(tmp_path, 20))
    ]
    metadata(tmp_path, rows[::-1])
    data = ImageData(options(size=8, held_out=0, text="text", label="kind"), tmp_path)
    for position in range(20):
        sample = data.load(data.pick(position))
        number = number_of(sample.image)
        assert sample.caption == f"number {number}"
        assert sample.label == "ab"[number % 2]
    assert sorted(data.captions()) == sorted(row["text"] for row in rows)


def test_both_splits_share_labels_and_one_reading_of_the_folder(tmp_path: Path) -> None:
    """Label 3 must mean the same on both sides even if one side lacks label 2."""
    for n in range(40):
        flat(tmp_path / f"class{n % 20}" / f"{n}.png")
    data = ImageData(options(size=8, label="folder", held_out=0.3), tmp_path)
    held = data.other("held_out")
    assert held.labels == data.labels
    assert len(held.labels) == 20
    assert len(held) + len(data) == 40
    assert not {r.path for r in held.records} & {r.path for r in data.records}


def test_cached_and_decoded_samples_are_the_same(tmp_path: Path) -> None:
    """Memory must not change results."""
    for n in range(5):
        (tmp_path / f"{n}.png").write_bytes(plain_png(noise(33, 21, 4, 16, seed=n)))
    o = options(size=16, held_out=0)
    cached, plain = ImageData(o, tmp_path), ImageData(o, tmp_path, cache_bytes=0)
    for index in (*range(5), *range(5)):
        assert torch.equal(cached.sample(index).image, plain.sample(index).image)


def broken_folder(root: Path, good: int, bad: int) -> None:
    numbered(root, good)
    for n in range(bad):
        whole = plain_png(noise(32, 32, 3, seed=n))
        (root / f"bad{n}.png").write_bytes(whole[: len(whole) // 2])


def test_bad_files_are_skipped_named_and_replaced_alike_in_every_run(tmp_path: Path) -> None:
    """One truncated download must not end the night, nor change what the others see."""
    broken_folder(tmp_path, 12, 3)
    lines: list[str] = []
    runs = []
    for order in (range(45), reversed(range(45))):
        data = ImageData(options(size=8, held_out=0, max_bad=3), tmp_path, report=lines.append)
        runs.append({p: data.load(data.pick(p)).index for p in order})
    assert runs[0] == runs[1]
    assert set(runs[0].values()) <= {i for i, r in enumerate(data.records) if not r.path.startswith("bad")}
    assert sorted(lines) == sorted(2 * [f"skipped bad{n}.png: {data.source.bad[f'bad{n}.png']}" for n in range(3)])


def test_too_many_bad_files_stop_and_are_all_named(tmp_path: Path) -> None:
    """A half-downloaded set must not train on its other half without a word."""
    broken_folder(tmp_path, 12, 3)
    data = ImageData(options(size=8, held_out=0, max_bad=2), tmp_path)
    with pytest.raises(LatentryError, match=r"(?s)3 files cannot be used.*bad0\.png.*bad1\.png.*bad2\.png") as caught:
        [data.load(data.pick(position)) for position in range(15)]
    assert not isinstance(caught.value, UsageError)
    assert caught.value.exit_code == 1


def test_what_headers_tell_counts_before_training_begins(tmp_path: Path) -> None:
    """Text named .png, empty and tiny files are found in the first second, not after an hour."""
    numbered(tmp_path, 5)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"hello")
    flat(tmp_path / "dot.png", size=(1, 1))
    with pytest.raises(
        LatentryError, match=r"(?s)3 files cannot.*dot\.png: 1x1 is too small.*empty\.png: empty.*text\.png: not"
    ):
        ImageData(options(size=64, held_out=0, max_bad=2), tmp_path)


def test_mixed_channels_name_the_first_five_and_the_fix(tmp_path: Path) -> None:
    """Cutting the fourth band would be silent; training stops with the names instead."""
    numbered(tmp_path, 10)
    for n in range(7):
        tifffile.imwrite(tmp_path / f"band{n}.tif", noise(8, 8, 4), photometric="rgb")
    with pytest.raises(
        UsageError, match=r"7 of 17 files .* 3 channels asked for: band0\.tif \(4 channels\), .*band4\.tif"
    ) as caught:
        ImageData(options(size=8), tmp_path)
    assert "band5" not in str(caught.value)
    assert "never cut" in str(caught.value)


def test_a_whole_set_of_other_channels_says_which_to_set(tmp_path: Path) -> None:
    """The commonest first mistake with 1 or 5 channels."""
    tifffile.imwrite(tmp_path / "a.tif", noise(8, 8, 5, 16), photometric="minisblack", planarconfig="contig")
    with pytest.raises(UsageError, match=r"Set data\.channels: 5"):
        ImageData(options(size=8, held_out=0), tmp_path)


def test_mixed_depths_are_an_error_until_one_is_chosen(tmp_path: Path) -> None:
    """16-bit scans among 8-bit ones: neither cut nor stretched unasked."""
    numbered(tmp_path, 6)
    (tmp_path / "deep.png").write_bytes(plain_png(noise(8, 8, 3, 16)))
    given: dict[str, Any] = {"size": 8, "held_out": 0}
    with pytest.raises(UsageError, match=r"1 of 7 files are not 8-bit .*: deep\.png \(16-bit\)\. Set data\.depth"):
        ImageData(options(**given), tmp_path)
    data = ImageData(options(**given, depth=16), tmp_path)
    assert data.depth == 16
    index = [r.path for r in data.records].index("0003.png")
    assert number_of(data.sample(index).image) == 3
    assert ImageData(options(**given, depth=8), tmp_path).depth == 8


def test_float_images_with_nan_stop_before_training_and_are_named(tmp_path: Path) -> None:
    """One NaN reaches every weight in one step."""
    for n in range(7):
        values = np.full((8, 8), 0.5, dtype=np.float32)
        values[n % 8, 0] = np.nan if n else 0.25
        tifffile.imwrite(tmp_path / f"f{n}.tif", values)
    with pytest.raises(
        UsageError, match=r"6 of 7 float images .*f1\.tif \(1 values are not finite.*f5\.tif.*Fill"
    ) as caught:
        ImageData(options(size=8, channels=1, held_out=0), tmp_path)
    assert "f6" not in str(caught.value)


def test_float_images_keep_their_precision(tmp_path: Path) -> None:
    """Float data is not squeezed through 16 bits on the way."""
    values = np.random.default_rng(0).random((8, 8), dtype=np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    data = ImageData(options(size=8, channels=1, held_out=0), tmp_path)
    np.testing.assert_array_equal(data.sample(0).image[0].numpy(), values / np.float32(0.5) - 1)
    assert data.depth == 16
