"""If these fail, a part of a large TIFF is read from another place, or the file has to fit in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from latentry.data.files.failures import reasons
from latentry.data.files.header import BadImage
from latentry.data.files.large import save_tiles
from latentry.data.files.limits import BYTE_LIMIT, Limits
from latentry.data.files.tiff import read, windows
from latentry.data.files.tiff.parse import Tiff
from latentry.data.files.tiff.stack import stack_of
from latentry.windows import Window, cover

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (70, 90, 3), dtype=np.uint8)
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "strips": (COLOURS, {"rowsperstrip": 7}),
    "tiles": (COLOURS, {"tile": (32, 16), "compression": "zlib", "predictor": True, "bigtiff": True}),
    "planes": (COLOURS.transpose(2, 0, 1), {"planarconfig": "separate", "photometric": "rgb", "tile": (16, 48)}),
    "16 bits": (COLOURS[..., 0] * np.uint16(257), {"tile": (16, 16), "compression": "zlib"}),
    "white is zero": (COLOURS[..., 0], {"photometric": "miniswhite", "rowsperstrip": 16}),
    "palette": (COLOURS[..., 0], {"photometric": "palette", "colormap": RANDOM.integers(0, 65536, (3, 256), "u2")}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_parts_of_the_picture(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside tifffile's own reading, or for colours made of others our reading of the whole."""
    pixels, how = KINDS[kind]
    path = str(tmp_path / "a.tif")
    tifffile.imwrite(path, pixels, **how)
    whole = read(path, Limits())
    if kind in ("strips", "tiles"):
        assert np.array_equal(whole, tifffile.imread(path))
    for kept in (windows.KEPT, 10_000):
        monkeypatch.setattr(windows, "KEPT", kept)
        with Tiff(path) as file:
            page = stack_of(file, "auto").images[0][0]
            parts = windows.Windows(page)
            for window in [*cover(70, 90, 33), Window(69, 70, 89, 90), Window(0, 70, 0, 90)]:
                part = parts.read(window)
                assert np.array_equal(part, whole[window.top : window.bottom, window.left : window.right])


def test_what_cannot_be_read_in_parts_is_known_beforehand(tmp_path: Path) -> None:
    """One huge strip would have to be decoded whole for each window."""
    for name, rows, fits in (("a", 70, False), ("b", 10, True)):
        tifffile.imwrite(tmp_path / f"{name}.tif", COLOURS, rowsperstrip=rows)
        with Tiff(str(tmp_path / f"{name}.tif")) as file:
            page = stack_of(file, "auto").images[0][0]
            assert windows.by_windows(page, 10_000) is fits
            assert windows.by_windows(page, BYTE_LIMIT)


def test_a_damaged_tile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOURS, tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.dataoffsets[2]
    content = bytearray(path.read_bytes())
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    with Tiff(str(path)) as file:
        parts = windows.Windows(stack_of(file, "auto").images[0][0])
        parts.read(Window(0, 32, 0, 64))
        with pytest.raises(BadImage, match=r"a\.tif: "), reasons(str(path), Limits()):
            parts.read(Window(0, 32, 64, 90))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_tiles_written_are_the_image_that_others_read(channels: int, tmp_path: Path) -> None:
    image = RANDOM.random((70, 90, channels)).astype(np.float32)
    path = tmp_path / "a.tif"
    parts = (image[w.top : w.bottom, w.left : w.right] for w in cover(70, 90, 32))
    save_tiles(path, parts, image.shape, 32, 16, {"seed": "3"})
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
        assert file.pages.first.is_tiled
        assert file.pages.first.description == '{"seed": "3"}'
        found = file.asarray()
    assert np.array_equal(found.reshape(image.shape), np.rint(image.astype(np.float64) * 65535))
