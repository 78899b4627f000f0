"""Arrays and medical images as images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentry.data.files import images
from latentry.data.files.limits import Limits
from latentry.data.folders.check import check
from tests.unit.data.files import flat, noise
from tests.unit.data.formats import dicoms
from tests.unit.data.formats.test_damage import look_at

try:
    import pydicom
except ImportError:
    pydicom = None
with_pydicom = pytest.mark.skipif(pydicom is None, reason="pydicom (extra `dicom`) is not installed")


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8", ">u2", ">f4"])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 5)])
def test_arrays_are_images_of_their_own_values(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    """Half of all scientific folders hold .npy files; passed over, they train nothing."""
    array = (np.arange(np.prod(shape)).reshape(shape) - (30 if "u" not in dtype else 0)).astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    header, got = images.decode(tmp_path / "a.npy")
    assert (header.format, header.dtype) == ("NPY", got.dtype.name)
    assert got.dtype.itemsize <= 4
    np.testing.assert_array_equal(got, array.reshape(9, 7, -1))
    assert got.flags["C_CONTIGUOUS"]


def test_arrays_that_are_no_images_are_named(tmp_path: Path) -> None:
    """One reason with what is accepted; nothing of a pickle is run."""
    cases: dict[str, tuple[Any, str]] = {
        "long": (np.zeros((4, 4), np.int64), "int64"),
        "complex": (np.zeros((4, 4), complex), "complex128"),
        "object": (np.array([[{}]]), "damaged or of a kind"),
        "line": (np.zeros(9), r"\(H, W\)"),
        "none": (np.zeros((0, 4)), r"\(H, W\)"),
        "huge": (np.zeros((2, 2, 3000)), "byte_limit"),
    }
    for name, (array, reason) in cases.items():
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(images.BadImage, match=reason):
            images.decode(tmp_path / f"{name}.npy", Limits(bytes=10_000))
    np.save(tmp_path / "cut.npy", noise(9, 9, 3))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-40])
    with pytest.raises(images.BadImage, match="damaged"):
        images.decode(tmp_path / "cut.npy")


def test_a_stack_of_arrays_and_bands_that_come_first_are_said(tmp_path: Path) -> None:
    """(C, H, W), as networks keep images, read as (H, W, C) is no picture."""
    np.save(tmp_path / "n.npy", np.stack([noise(9, 7, 3, seed=n) for n in range(5)]))
    assert "only the first" in images.header(tmp_path / "n.npy").notes[0]
    each = images.decode(f"{tmp_path}/n.npy#4", Limits(pages="each"))[1]
    np.testing.assert_array_equal(each, noise(9, 7, 3, seed=4))
    assert images.decode(tmp_path / "n.npy", Limits(pages="bands"))[1].shape == (9, 7, 15)
    np.save(tmp_path / "c.npy", np.zeros((3, 64, 64), np.uint8))
    assert "save (H, W, C)" in images.header(tmp_path / "c.npy").notes[0]


def test_masks_of_truth_values_are_black_and_white(tmp_path: Path) -> None:
    """1 of 255 is all but black."""
    np.save(tmp_path / "b.npy", np.eye(4, dtype=bool))
    assert images.read(tmp_path / "b.npy").max() == 255


@with_pydicom
def test_values_are_rescaled_to_what_they_mean(tmp_path: Path) -> None:
    """A CT's air is -1000, whatever number the scanner stores."""
    stored = noise(12, 10, 1, 16)[..., 0] & 4095
    path = dicoms.write(
        tmp_path / "a.dcm",
        stored,
        12,
        RescaleSlope=2,
        RescaleIntercept=-1024,
        WindowCenter=40,
        WindowWidth=400,
        PixelPaddingValue=7,
    )
    header, got = images.decode(path)
    np.testing.assert_array_equal(got[..., 0], stored.astype(int) * 2 - 1024)
    assert (header.dtype, header.no_data, header.window) == ("int16", -1010, (-160, 239))
    dicoms.write(path, stored, 12, RescaleSlope=0.5, RescaleIntercept=0)
    header, got = images.decode(path)
    np.testing.assert_array_equal(got[..., 0], (stored / 2).astype(np.float32))


@with_pydicom
def test_kinds_of_dicom(tmp_path: Path) -> None:
    """Dark bones, signed values, colours, RLE, several frames."""
    from pydicom.uid import RLELossless

    stored = noise(12, 10, 1, 16)[..., 0] & 4095
    header, got = images.decode(dicoms.write(tmp_path / "a.dcm", stored, 12, "MONOCHROME1"))
    np.testing.assert_array_equal(got[..., 0], 4095 - stored)
    assert (header.dtype, header.bits) == ("uint16", 12)
    signed = stored.astype(np.int16) - 2000
    np.testing.assert_array_equal(images.decode(dicoms.write(tmp_path / "a.dcm", signed))[1][..., 0], signed)
    colour = noise(12, 10, 3)
    np.testing.assert_array_equal(images.decode(dicoms.write(tmp_path / "a.dcm", colour, 8, "RGB"))[1], colour)
    packed = dicoms.write(tmp_path / "a.dcm", stored, 12, syntax=RLELossless)
    np.testing.assert_array_equal(images.decode(packed)[1][..., 0], stored)
    film = np.stack([signed + n for n in range(4)])
    dicoms.write(tmp_path / "a.dcm", film, NumberOfFrames=4)
    assert "only the first" in images.header(tmp_path / "a.dcm").notes[0]
    np.testing.assert_array_equal(images.decode(f"{tmp_path}/a.dcm#3", Limits(pages="each"))[1][..., 0], film[3])


@with_pydicom
def test_dicom_that_cannot_be_read_is_one_reason(tmp_path: Path) -> None:
    """Truncated, compressed by what is not installed, without a picture, too large: never a traceback."""
    stored = noise(12, 10, 1, 16)[..., 0]
    good = dicoms.write(tmp_path / "a.dcm", stored).read_bytes()
    cases = {
        "cut": good[:-60],
        "empty": b"\0" * 128 + b"DICM" + b"\0" * 64,
        "syntax": good.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.99"),
        "deflated": good.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1."),
    }
    for name, content in cases.items():
        (tmp_path / f"{name}.dcm").write_bytes(content)
        with pytest.raises(images.BadImage) as caught:
            images.decode(tmp_path / f"{name}.dcm")
        assert "\n" not in caught.value.reason
    with pytest.raises(images.BadImage, match="byte_limit"):
        images.decode(tmp_path / "a.dcm", Limits(bytes=100))
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(good)
        for at in rng.integers(128, len(good), 4):
            data[at] = int(rng.integers(256))
        (tmp_path / "b.dcm").write_bytes(data)
        look_at(tmp_path / "b.dcm")


def test_without_the_extra_one_line_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of scans must not look like a folder of damaged files."""
    monkeypatch.setitem(sys.modules, "pydicom", None)
    flat(tmp_path / "a.png")
    (tmp_path / "scan.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    report = check(tmp_path)
    assert dict(report.bad) == {"scan.dcm": "DICOM needs one more package: pip install 'latentry[dicom]'"}
