"""If these fail, dark detail is trained on as black, signed values turn over, or samples come back in other units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from latentry.data.dataset import ImageData
from latentry.data.files import images, saving
from latentry.data.files.header import Header
from latentry.data.folders.check import check
from latentry.data.folders.source import stated_bits
from latentry.data.ranges.meaning import Range, Units, dtype_of, range_of
from latentry.data.ranges.survey import nearest_range, proposal
from latentry.data.ranges.tally import Tally
from latentry.errors import LatentryError, UsageError
from tests.unit.data.files import noise, options

NO_DATA = 42113


def values(low: float, high: float, dtype: str, seed: int = 0, side: int = 16) -> NDArray[Any]:
    """(side, side) of random values with both ends."""
    random = np.random.default_rng(seed).random((side, side))
    random.reshape(-1)[:2] = 0, 1
    found = low + random * (high - low)
    return found.astype(dtype) if "float" in dtype else np.rint(found).astype(dtype)


def folder(root: Path, arrays: list[NDArray[Any]], no_data: str | None = None) -> Path:
    """TIFFs 0.tif, 1.tif, ..., which may name the value where nothing was measured."""
    root.mkdir(parents=True, exist_ok=True)
    tags = [] if no_data is None else [(NO_DATA, 2, 0, no_data, True)]
    for number, array in enumerate(arrays):
        kind = "minisblack" if array.ndim == 2 else None
        tifffile.imwrite(root / f"{number}.tif", array, photometric=kind, extratags=tags)
    return root


def opened(root: Path, said: list[str] | None = None, **changes: Any) -> ImageData:
    given: dict[str, Any] = {"size": 16, "channels": 1, "held_out": 0}
    report = (lambda _: None) if said is None else said.append
    return ImageData(options(**{**given, **changes}), root, report=report)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("uint8", 0, 100),
        ("uint16", 0, 4095),
        ("uint16", 100, 65535),
        ("uint32", 0, 2**20),
        ("int8", -128, 127),
        ("int16", -12800, 12700),
        ("int32", -(2**20), 2**20),
        ("float32", -1000, 3000),
    ],
)
def test_every_type_goes_in_and_comes_back_in_its_own_units(tmp_path: Path, dtype: str, low: int, high: int) -> None:
    """-1 read as 255, or saved as 65535, is another patient."""
    array = values(low, high, dtype)
    data = opened(folder(tmp_path / "d", [array]), range=[low, high])
    image = data.sample(0).image
    assert (float(image.min()), float(image.max())) == (-1, 1)
    unit = (image.numpy().transpose(1, 2, 0).astype(np.float64) + 1) / 2
    path = saving.save(tmp_path / "again.tif", unit, units=Units(low, high, data.source.dtype))
    back = images.decode(path)[1][..., 0]
    assert back.dtype == array.dtype == data.source.dtype
    if "float" in dtype:
        np.testing.assert_allclose(back, array, atol=(high - low) * 1e-6)
    else:
        np.testing.assert_array_equal(back, array)


def test_eight_and_sixteen_bits_without_a_range_are_what_they_were_to_the_bit(tmp_path: Path) -> None:
    """Runs that began before there were ranges would not resume to the same weights."""
    for depth in (8, 16):
        pixels = noise(16, 16, 1, depth)
        data = opened(folder(tmp_path / str(depth), [pixels[..., 0]]))
        half = np.float32((2**depth - 1) / 2)
        np.testing.assert_array_equal(data.sample(0).image[0].numpy(), pixels[..., 0] / half - np.float32(1))
        assert data.sample(0).pixels is not None
        assert data.sample(0).pixels.dtype == pixels.dtype  # type: ignore[union-attr]


def test_values_outside_the_range_are_clipped_and_their_share_is_said(tmp_path: Path) -> None:
    array = values(0, 4095, "uint16")
    array[:4] = 60000
    data = opened(folder(tmp_path, [array]), range=[0, 4095])
    assert float(data.sample(0).image.max()) == 1
    (line,) = data.source.survey.lines(data.options)
    assert line == (
        "WARNING: data.range 0..4095 of uint16 is black to white; 25% of the values looked at lie outside "
        "(26..60000 seen) and are clipped"
    )


@pytest.mark.parametrize(
    ("dtype", "low", "high", "seen"),
    [
        ("int16", -12800, 12700, "-12800..12700"),
        ("int8", -128, 127, "-128..127"),
        ("uint32", 0, 2**20, "0..1048576"),
        ("float32", -1000, 3000, "-1000..3000"),
    ],
)
def test_values_without_a_range_of_their_own_are_refused_with_the_range_to_set(
    tmp_path: Path, dtype: str, low: int, high: int, seen: str
) -> None:
    """One line for a folder of them, which says what they are and what would do."""
    root = folder(tmp_path, [values(low, high, dtype, seed) for seed in range(7)])
    with pytest.raises(UsageError, match=r"7 of 7 .* Set data\.range: \[.*\], or set") as caught:
        opened(root)
    assert f"run over {seen};" in str(caught.value)
    report = check(root)
    assert (report.bad, len(report.problems)) == ([], 1)
    assert "Set data.range: [" in report.problems[0]
    assert check(root, options(size=16, channels=1, range=[low, high])).ok


def test_what_was_not_measured_is_filled_and_counted(tmp_path: Path) -> None:
    """-3.4e38 within the mean makes every other value the same; so does a resize that mixes it in."""
    array = values(0, 4000, "float32", side=32)
    array[:8] = -3.4028235e38
    data = opened(folder(tmp_path, [array, values(0, 4000, "float32", 1, 32)], "-3.4028235e+38"), range=[0, 4000])
    image = data.sample(0).image[0]
    assert (image[:4] < -0.8).all()
    assert image[6:].std() > 0.1
    assert "no-data values in 1 of 2 images looked at, 0.12 of all values" in data.source.survey.lines(data.options)[1]


def test_no_data_can_be_named_where_the_files_do_not_say_it(tmp_path: Path) -> None:
    array = values(0, 1, "float32")
    array[3] = np.nan
    root = folder(tmp_path, [array])
    with pytest.raises(UsageError, match=r"not finite.*data\.no_data: nan"):
        opened(root)
    assert (opened(root, no_data=float("nan")).sample(0).image[0, 3] == -1).all()
    assert (opened(root, no_data="nan", range=[0, 1]).sample(0).image[0, 3] == -1).all()


def test_an_image_of_which_nothing_was_measured_is_bad(tmp_path: Path) -> None:
    """A tile of the sea would teach the model black pictures."""
    root = folder(tmp_path, [np.full((16, 16), -9999, np.int16), values(0, 50, "int16")], "-9999")
    said: list[str] = []
    data = opened(root, said, range=[0, 50])
    assert data.sample(0).index == 1
    assert "skipped 0.tif: holds nothing but no-data values" in said
    assert dict(check(root, data.options).bad) == {"0.tif": "holds nothing but no-data values"}


def test_a_set_is_mapped_by_percentiles_over_all_its_images(tmp_path: Path) -> None:
    """Each by its own would make a dim image as bright as a bright one."""
    arrays = [values(0, top, "int16", seed) for seed, top in enumerate((100, 1000, 400))]
    arrays[1][0, 0] = 32000  # one hot pixel
    root, said = folder(tmp_path, arrays), list[str]()
    data = opened(root, said, range="set", percentiles=[1, 99])
    expected = np.percentile(np.stack(arrays), [1, 99])
    assert data.options.range == (np.floor(expected[0]), np.ceil(expected[1]))
    assert any(line.startswith(f"data.range: [{int(expected[0])}, ") for line in said)
    assert opened(root, range="set", percentiles=[0, 100]).options.range == (0, 32000)
    assert opened(root, range="set", percentiles=[1, 99]).options.range == data.options.range
    brightest = [float(data.sample(i).image.max()) for i in range(3)]
    assert brightest[0] < brightest[2] < brightest[1]


def test_each_image_by_its_own_percentiles(tmp_path: Path) -> None:
    arrays = [values(0, 100, "int16"), values(-5000, 9000, "int16", 1), np.full((16, 16), 7, np.int16)]
    data = opened(folder(tmp_path, arrays), range="file")
    for index in (0, 1):
        image = data.sample(index).image
        assert (float(image.min()), float(image.max())) == (-1, 1)
    assert (data.sample(2).image == -1).all()
    assert "is lost, and samples have no units" in data.source.survey.lines(data.options)[0]


def test_depths_that_differ_go_together_by_a_range(tmp_path: Path) -> None:
    root = folder(tmp_path, [values(0, 200, "uint8"), values(0, 400, "uint16"), values(0, 400, "float32")])
    with pytest.raises(UsageError, match=r"data\.range to map the values of all by it"):
        opened(folder(tmp_path / "two", [values(0, 255, "uint8"), values(0, 65535, "uint16")]))
    data = opened(root, range=[0, 400])
    assert [round(float(data.sample(i).image.max()), 2) for i in range(3)] == [0, 1, 1]
    with pytest.raises(ValueError, match=r"depth 16 with range: values go by the range alone"):
        options(depth=16, range=[0, 1])


def test_transparency_is_a_share_whatever_the_range_of_colours(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., :3], pixels[8:, :, 3] = 50, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    over = opened(tmp_path, channels=3, range=[0, 100], background="white").sample(0).image
    assert (over[:, :8] == 1).all()
    assert (over[:, 8:] == 0).all()
    kept = opened(tmp_path, channels=4, range=[0, 100], background=None).sample(0).image
    assert (kept[3, :8] == -1).all()
    assert (kept[3, 8:] == 1).all()


def test_transparency_is_kept_with_a_range_where_images_are_resized(tmp_path: Path) -> None:
    pixels = np.full((32, 32, 4), 50, np.uint8)
    pixels[:16, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = opened(tmp_path, channels=4, range=[0, 100], background=None).sample(0).image
    assert image[0, 12].tolist() == pytest.approx([0] * 16, abs=1e-6)
    assert image[3, 2].tolist() == [-1] * 16


def test_types_that_differ_are_saved_as_one_that_holds_all() -> None:
    assert [dtype_of(kinds) for kinds in (["uint8", "uint16"], ["uint8", "int8"], ["uint16", "int16"])] == [
        "uint16",
        "int16",
        "int32",
    ]
    assert dtype_of(["uint32", "int32"]) == dtype_of(["uint32", "float32"]) == "float32"


def test_the_window_of_the_files_is_proposed(tmp_path: Path) -> None:
    """A scanner writes down in what window its values are to be seen."""
    tally = Tally(options(), 2)
    for seed in range(2):
        tally.add(Header(16, 16, 1, 16, "DICOM", dtype="int16", window=(-160, 240)), values(-1000, 3000, "int16", seed))
    assert "Set data.range: [-1000, 3000], [-160, 240] (the files' own window), or set" in proposal(tally.survey())


def test_a_range_that_clips_much_is_warned_of(tmp_path: Path) -> None:
    data = opened(folder(tmp_path, [values(0, 4000, "uint16")]), range=[0, 1000])
    assert data.source.survey.lines(data.options)[0].startswith("WARNING: data.range 0..1000 of uint16")


def test_twelve_bits_in_sixteen_are_told_with_a_range_to_set(tmp_path: Path) -> None:
    """Nothing is trained in 6% of the range without a word."""
    for number in range(12):
        Image.fromarray(values(30, 4000, "uint16", number)).save(tmp_path / f"{number}.png")
    line = "values use 30..4000 of 0..65535 (6.1%): the model is trained in that part alone. Set data.range: [0, 4095]"
    report = check(tmp_path)
    assert report.ok
    assert any(line in advice for advice in report.advice)
    assert report.values == {"uint16 30..4000": 12}
    survey = opened(tmp_path).source.survey
    assert survey.lines(options())[0].startswith(f"WARNING: {line}")
    assert opened(tmp_path).in_use == pytest.approx((30 / 65535, 4000 / 65535))
    assert opened(tmp_path, range=[0, 4095]).in_use is None
    assert not check(tmp_path, options(size=16, channels=1, range=[0, 4095])).advice[1:]


def test_one_bad_picture_hides_no_narrow_range(tmp_path: Path) -> None:
    """Of hundreds of 12-bit images one was saved in 16."""
    arrays = [values(0, 4095, "uint16", seed, 8) for seed in range(150)] + [values(0, 65535, "uint16", 0, 8)]
    assert opened(folder(tmp_path, arrays), size=8).in_use is not None


@pytest.mark.parametrize("kind", ["photograph", "bright dots on black", "plain colours"])
def test_usual_images_are_judged_by_the_whole_range(tmp_path: Path, kind: str) -> None:
    """Sparse microscopy is black but for its dots, which percentiles would leave out; its figures stay as they are."""
    for number in range(20):
        array = values(0, 255, "uint8", number) if kind == "photograph" else np.zeros((64, 64), np.uint8)
        if kind == "bright dots on black":
            array[number, number] = 250
        if kind == "plain colours":
            array[:] = 13 * number
        Image.fromarray(array).save(tmp_path / f"{number}.png")
    data = opened(tmp_path)
    assert data.in_use is None
    assert data.source.survey.lines(data.options) == []


def test_images_of_one_value_are_told(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / f"{number}.png")
    assert (
        opened(tmp_path)
        .source.survey.lines(options())[0]
        .startswith("WARNING: every image holds the value 0 alone, of 0..255")
    )


def test_files_that_state_twelve_bits_are_mapped_by_them() -> None:
    twelve = Header(8, 8, 1, 16, "TIFF", dtype="uint16", bits=12)
    assert stated_bits({"a": twelve, "b": twelve}) == 12
    assert stated_bits({"a": Header(8, 8, 1, 16, "TIFF", dtype="uint16", bits=16)}) is None
    assert range_of(twelve, options()) == Range(0, 4095)
    with pytest.raises(UsageError, match=r"1 of 2 files use other bits of 16 than the rest: b \(12\)"):
        stated_bits({"a": Header(8, 8, 1, 16, "TIFF", dtype="uint16"), "b": twelve})


@pytest.mark.parametrize(
    ("low", "high", "floating", "near"),
    [
        (0, 3890, False, (0, 4095)),
        (3, 255, False, (0, 255)),
        (-12800, 12700, False, (-13000, 13000)),
        (-645.961, 2908.68, True, (-700, 3000)),
        (0, 0, False, (0, 1)),
        (0.0125, 0.0131, True, (0.0125, 0.0131)),
    ],
)
def test_the_range_proposed_is_round_and_holds_all(low: float, high: float, floating: bool, near: Any) -> None:
    found = nearest_range(low, high, floating)
    assert found == pytest.approx(near)
    assert found.low <= low
    assert found.high >= high


@pytest.mark.parametrize(
    "wrong",
    [{"range": [5, 5]}, {"range": [9, 1]}, {"range": "all"}, {"range": [0, float("inf")]}, {"range": [1]},
     {"percentiles": [99, 1]}, {"percentiles": [-1, 50]}, {"no_data": "none"}],
)  # fmt: skip
def test_a_range_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        options(**wrong)
    assert options(range=None).range == "auto"


def test_a_folder_without_a_value_has_no_range(tmp_path: Path) -> None:
    root = folder(tmp_path, [np.full((16, 16), -9999, np.int16)], "-9999")
    with pytest.raises(LatentryError, match=r"no image holds a value"):
        opened(root, range="set")
