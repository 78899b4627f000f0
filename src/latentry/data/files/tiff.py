"""TIFF by tifffile: any number of bands, either planar layout, whole numbers and float."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tifffile

from latentry.data.files.header import Array, BadImage, Header, check_pixels, upright, upright_size

_DTYPES = {
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "f2": "float32",
    "f4": "float32",
    "f8": "float32",
}
_NO_DATA = 42113
"""GDAL's tag: the value where nothing was measured, as text."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2


@dataclass(frozen=True)
class _Layout:
    """How the samples lie: `bands_axis` is where the bands are in the decoded array, None if it has none."""

    width: int
    height: int
    channels: int
    whole_series: bool
    bands_first: bool
    frames: int


def header(path: str, limit: int) -> Header | None:
    """Facts of a TIFF that this module reads; None for kinds that Pillow reads (palette, CMYK, JPEG colour, 1 bit)."""
    with tifffile.TiffFile(path) as file:
        page = _first_page(path, file, limit)
        dtype = _dtype(page)
        if dtype is None:
            return None
        layout = _layout(path, file)
        check_pixels(path, layout.width, layout.height, limit)
        orientation = _orientation(page)
        width, height = upright_size(layout.width, layout.height, orientation)
        return Header(
            width,
            height,
            layout.channels,
            np.dtype(dtype).itemsize * 8,
            "TIFF",
            orientation=orientation,
            frames=layout.frames,
            dtype=dtype,
            no_data=_no_data(page),
        )


def read(path: str, limit: int) -> Array:
    """Decode to (H, W, C) of the header's dtype. Extra samples are bands, never transparency."""
    with tifffile.TiffFile(path) as file:
        page = _first_page(path, file, limit)
        layout = _layout(path, file)
        check_pixels(path, layout.width, layout.height, limit)
        _refuse_bomb(path, page)
        array = file.series[0].asarray() if layout.whole_series else page.asarray()
        shape = (layout.height, layout.width, layout.channels)
        if layout.bands_first:
            array = np.moveaxis(array.reshape(shape[2], shape[0], shape[1]), 0, -1)
        array = array.reshape(shape)
        if page.photometric == _WHITE_IS_ZERO:
            array = 1 - array if array.dtype.kind == "f" else ~array
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        return upright(array, _orientation(page))


def _first_page(path: str, file: tifffile.TiffFile, limit: int) -> tifffile.TiffPage:
    page = file.pages[0]
    assert isinstance(page, tifffile.TiffPage)
    check_pixels(path, page.imagewidth, page.imagelength, limit)
    return page


def _dtype(page: tifffile.TiffPage) -> str | None:
    plain = page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    if page.dtype is None or not plain or page.bitspersample not in (8, 16, 32, 64):
        return None
    return _DTYPES.get(page.dtype.str[1:])


def _no_data(page: tifffile.TiffPage) -> float | None:
    try:
        return float(str(page.tags.valueof(_NO_DATA)).strip("\0 "))
    except ValueError:
        return None


def _layout(path: str, file: tifffile.TiffFile) -> _Layout:
    page = file.pages[0]
    assert isinstance(page, tifffile.TiffPage)
    height, width, channels = page.imagelength, page.imagewidth, page.samplesperpixel
    pages = len(file.pages)
    if pages > 1:
        series = file.series[0]
        axes, shape = series.axes, series.shape
        if len(shape) == 3 and axes[0] in "CQS" and channels == 1:
            # Written without named axes, (H, W, bands) looks like H pages of W x bands: the smaller end is the bands.
            if axes[0] == "Q" and shape[2] < shape[0]:
                return _Layout(shape[1], shape[0], shape[2], True, False, 1)
            return _Layout(shape[2], shape[1], shape[0], True, True, 1)
        if len(shape) > 3:
            raise BadImage(path, f"a stack of shape {shape} ({axes}); save one picture per file, bands as samples")
    return _Layout(width, height, channels, False, page.planarconfig == 2 and channels > 1, pages)


def _orientation(page: tifffile.TiffPage) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def _refuse_bomb(path: str, page: tifffile.TiffPage) -> None:
    """A strip may inflate a thousandfold whatever the header says, so it may not be larger than its pixels."""
    stored, plain = sum(page.databytecounts), page.nbytes
    if page.compression != 1 and stored > plain + plain // 8 + 4096:
        raise BadImage(path, f"holds {stored} compressed bytes for {plain} bytes of pixels")
