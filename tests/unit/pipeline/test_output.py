"""If these fail, images are rounded wrongly, overwrite earlier ones, or lose what made them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from latentry.data.files import images
from latentry.data.files.saving import save
from latentry.data.ranges.meaning import Units
from latentry.errors import LatentryError, UsageError
from latentry.pipeline.output import Output, check_target, grid


def output(channels: int = 3, depth: int = 8, count: int = 2) -> Output:
    values = torch.linspace(0, 1, count * channels * 4 * 6).reshape(count, channels, 4, 6)
    return Output(values, depth, [{"seed": str(7 + i), "prompt": "ein Äpfel"} for i in range(count)])


def test_values_are_rounded_to_nearest_at_the_models_depth():
    tensor = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1.0, 1.5, -0.5]).reshape(1, 1, 1, 7)
    assert Output(tensor, 8, [{}]).arrays[0].ravel().tolist() == [0, 0, 1, 254, 255, 255, 0]
    assert Output(tensor, 16, [{}]).arrays[0].dtype == np.uint16
    assert Output(torch.tensor([[[[0.5 / 65535 + 1e-7]]]]), 16, [{}]).arrays[0].item() == 1


@pytest.mark.parametrize(("channels", "depth", "kind"), [(1, 8, "L"), (3, 8, "RGB"), (4, 8, "RGBA"), (1, 16, "I;16")])
def test_pil_images_where_pil_can_hold_them(channels, depth, kind):
    image = output(channels, depth).images[1]
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == (kind, (6, 4))


@pytest.mark.parametrize(("channels", "depth"), [(5, 8), (3, 16), (2, 8)])
def test_arrays_where_pil_cannot(channels, depth):
    image = output(channels, depth).images[0]
    assert isinstance(image, np.ndarray)
    assert image.shape == (4, 6, channels)


def test_saved_files_carry_their_facts_and_never_overwrite(tmp_path):
    first = output().save(tmp_path)
    again = output().save(tmp_path)
    assert [path.name for path in first] == ["seed-7.png", "seed-8.png"]
    assert [path.name for path in again] == ["seed-7-2.png", "seed-8-2.png"]
    with Image.open(first[1]) as image:
        assert image.text == {"seed": "8", "prompt": "ein Äpfel"}
    assert np.array_equal(images.read(first[1]), output().arrays[1])


def test_one_image_goes_into_a_named_file(tmp_path):
    (path,) = output(count=1).save(tmp_path / "new" / "one.tif")
    assert images.read(path).shape == (4, 6, 3)
    with pytest.raises(UsageError, match="2 images into one file"):
        output().save(tmp_path / "two.png")


def test_a_sheet_shows_every_image_and_tells_how_many(tmp_path):
    path = output(count=3).save_sheet(tmp_path / "sheet.png")
    with Image.open(path) as sheet:
        assert sheet.text["images"] == "3"
        assert sheet.text["seed"] == "7"
        pixels = np.asarray(sheet)
    assert pixels.shape == (2 * 6 + 2, 2 * 8 + 2, 3)
    assert np.array_equal(pixels[2:6, 10:16], output(count=3).arrays[1])
    assert (pixels[8:12, 10:16] == 255).all()


def test_bands_that_a_sheet_cannot_show():
    assert np.asarray(grid(torch.zeros(1, 5, 4, 4))).shape == (8, 8, 3)
    one = np.asarray(grid(torch.full((1, 1, 4, 4), 0.5)))[2:6, 2:6]
    assert (one == one[..., :1]).all()


def test_a_place_is_checked_before_anything_is_drawn(tmp_path):
    (tmp_path / "file").touch()
    assert check_target(tmp_path / "new" / "a.png", 1)
    assert not check_target(tmp_path / "new" / "folder", 9)
    with pytest.raises(LatentryError, match="is a file, not a folder"):
        check_target(tmp_path / "file" / "below", 1)
    with pytest.raises(UsageError, match=r"saved as .png, .tif, .tiff"):
        check_target(tmp_path / "a.jpg", 1)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_bands_are_saved_as_tiff_and_never_as_transparency(channels, depth, tmp_path):
    """A last band of small values, read as transparency, leaves a picture all but empty."""
    values = torch.rand(1, channels, 8, 6, generator=torch.Generator().manual_seed(0))
    values[:, -1] *= 0.02
    bands = Output(values, depth, [{"seed": "0"}], alpha=False)
    (path,) = bands.save(tmp_path)
    assert path.suffix == ".tif"
    header, array = images.decode(path)
    assert (header.channels, header.alpha, header.depth) == (channels, False, depth)
    np.testing.assert_array_equal(array, bands.arrays[0])
    if depth == 8:  # another program sees colours that nothing hides
        with Image.open(path) as picture:
            shown = np.asarray(picture.convert("RGBA"))
        assert (shown[..., 3] == 255).all()
        np.testing.assert_array_equal(shown[..., 0], array[..., 0])
    assert isinstance(bands.images[0], np.ndarray)
    with pytest.raises(UsageError, match=rf"{channels} bands, none of them transparency, is saved as \.tif, \.tiff"):
        bands.save(tmp_path / "one.png")
    assert not (tmp_path / "one.png").exists()
    transparent = Output(values, depth, [{"seed": "1"}])
    assert transparent.save(tmp_path)[0].suffix == ".png"


def test_a_sheet_shows_two_bands_beside_one_another():
    """The second would never be looked at."""
    images = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])[None]
    sheet = np.asarray(grid(images, alpha=False))[2:6, 2:10]
    assert (sheet[:, :4] == 0).all()
    assert (sheet[:, 4:] == 255).all()
    assert np.asarray(grid(images)).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("units", "suffix"),
    [
        (Units(0, 4095, "uint16"), ".png"),
        (Units(0, 99, "uint8"), ".png"),
        (Units(-1000, 1000, "int16"), ".tif"),
        (Units(-1.5, 2.5, "float32"), ".tif"),
        (Units(0, 2**20, "uint32"), ".tif"),
    ],
)
def test_images_are_saved_in_the_units_of_their_source(units, suffix, tmp_path):
    """Hounsfield units that come back as 0..65535 can be measured by nobody."""
    values = torch.tensor([0.0, 0.25, 1.0, 0.5]).reshape(1, 1, 2, 2)
    made = Output(values, 16, [{"seed": "0"}], [units])
    (path,) = made.save(tmp_path)
    assert path.suffix == suffix
    header, array = images.decode(path)
    assert header.dtype == units.dtype
    expected = units.low + np.array([[0, 0.25], [1, 0.5]]) * (units.high - units.low)
    whole = np.rint(expected) if "float" not in units.dtype else expected
    np.testing.assert_array_equal(array[..., 0], whole.astype(units.dtype))
    np.testing.assert_array_equal(made.arrays[0], array)
    said = f"{units}: what the model sees as black to white"
    if suffix == ".png":
        with Image.open(path) as picture:
            assert picture.text["range"] == said
    else:
        with tifffile.TiffFile(path) as file:
            assert json.loads(file.pages[0].description)["range"] == said
            assert file.pages[0].tags["SMaxSampleValue"].value == units.high
        with pytest.raises(UsageError, match=rf"an image of {units.dtype} values is saved as \.tif, \.tiff"):
            save(tmp_path / "a.png", values[0].permute(1, 2, 0).numpy(), units=units)


def test_transparency_is_no_value_in_units(tmp_path):
    values = torch.ones(1, 2, 2, 2)
    (path,) = Output(values, 16, [{}], [Units(0, 4095, "uint16")]).save(tmp_path)
    assert "range" not in Image.open(path).info  # nothing is said in a file that is to say nothing
    assert images.decode(path)[1].reshape(-1, 2)[0].tolist() == [4095, 65535]
