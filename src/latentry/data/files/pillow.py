"""PNG, JPEG, WebP, BMP and GIF by Pillow, without its habits of cutting bits and of taking memory many times over."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from latentry.data.files import png16
from latentry.data.files.header import Array, BadImage, Header, check_size, upright, upright_size
from latentry.data.files.limits import Limits
from latentry.data.files.parts import array_of

_FORMATS = [
    PngImagePlugin.PngImageFile.format,
    JpegImagePlugin.JpegImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    GifImagePlugin.GifImageFile.format,
]
_CHANNELS = {"1": 1, "L": 1, "I;16": 1, "I;16B": 1, "LA": 2, "PA": 4, "RGBA": 4, "RGBa": 4}
_MODES = {*_CHANNELS, "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB"}
_MODE_OF = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_ORIENTATION = 274
_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])")
_MOST_SCANS = 200
"""A progressive JPEG usually has ten; each passes over all pixels."""


def header(path: str, limits: Limits) -> Header:
    """Facts of a file. Raises `BadImage` for kinds that are not read, and for more than the limits."""
    with opened(path, limits) as image:
        return _facts(path, image, limits, _turn_behind_pixels(path, image))


def decode(path: str, limits: Limits) -> tuple[Header, Array]:
    """The header and (H, W, C), uint8 or uint16; palettes and CMYK as RGB(A); all bits kept."""
    with opened(path, limits) as image:
        facts = _facts(path, image, limits, 1)
        if png16.channels_of(image):
            array: Array = png16.read(path)
            turn = _turn_behind_pixels(path, image)
        else:
            image.load()
            late = image.format == "PNG" and facts.orientation == 1
            turn = orientation_of(image) if late else facts.orientation
            mode = None if image.mode.startswith("I;16") else _MODE_OF[facts.channels]
            array = array_of(image, mode)
        if array.dtype == np.uint16:
            array = _with_colour_key(array, image.info.get("transparency"))
    if array.shape[2] != facts.channels:
        raise BadImage(path, f"{array.shape[2]} channels decoded where the header says {facts.channels}")
    if turn != facts.orientation:  # said behind the pixels
        width, height = upright_size(array.shape[1], array.shape[0], turn)
        facts = Header(**{**vars(facts), "width": width, "height": height, "orientation": turn})
    return facts, upright(array, turn)


@contextmanager
def opened(path: str, limits: Limits) -> Iterator[ImageFile.ImageFile]:
    """A file opened by Pillow and not yet decoded. Raises `BadImage` for over the limits and kinds not read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=_FORMATS) as image:
            check_size(path, image.width, image.height, 1, limits)
            if image.mode not in _MODES:
                raise BadImage(path, f"pixels of kind {image.mode} are not read; save 8 or 16 bits")
            yield image


def check_webp(path: str, start: bytes, limits: Limits) -> None:
    """Sizes of a WebP, because opening one already reserves memory for its pixels: four bytes each."""
    kind = start[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(start[i : i + 3], "little") for i in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(start[i : i + 2], "little") & 0x3FFF for i in (26, 28))
    check_size(path, width, height, 4, limits)


def _facts(path: str, image: ImageFile.ImageFile, limits: Limits, turn_behind: int) -> Header:
    orientation = orientation_of(image)
    orientation = turn_behind if orientation == 1 else orientation
    alpha = image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info
    channels = _CHANNELS.get(image.mode, 3)
    if "transparency" in image.info and channels in (1, 3):
        channels += 1
    deep = png16.channels_of(image)
    depth = 16 if deep or image.mode.startswith("I;16") else 8
    frames = int(getattr(image, "n_frames", 1)) if image.format in ("GIF", "WEBP", "PNG") else 1
    name = "JPEG" if image.format == "MPO" else str(image.format)
    cmyk, palette = image.mode == "CMYK", image.mode in ("P", "PA")
    channels = max(channels if deep != 2 else 2, deep)
    if deep == 3 and "transparency" in image.info:
        channels = 4
    check_size(path, *image.size, channels * depth // 8, limits)
    if image.info.get("progressive"):
        _refuse_many_scans(path)
    width, height = upright_size(*image.size, orientation)
    return Header(width, height, channels, depth, name, alpha, orientation, frames, cmyk, palette, dtype=f"uint{depth}")


def _refuse_many_scans(path: str) -> None:
    scans = Path(path).read_bytes().count(b"\xff\xda")
    if scans > _MOST_SCANS:
        raise BadImage(path, f"a JPEG of {scans} scans, more than {_MOST_SCANS}: made to keep its reader busy")


def orientation_of(image: ImageFile.ImageFile) -> int:
    """The orientation that EXIF data name, else XMP, 1 to 8; 1 where none does."""
    info = image.info
    if "exif" in info or "Raw profile type exif" in info or image.format not in ("PNG", "WEBP", "GIF", "BMP"):
        try:
            # Not PNG's own method, which would decode the whole picture to look behind it.
            value = Image.Image.getexif(image).get(_ORIENTATION)
        except (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error):
            value = None  # damaged EXIF data say nothing about the picture
        if isinstance(value, int) and 1 <= value <= 8:
            return value
    words = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    found = _XMP.search(words if isinstance(words, bytes) else str(words).encode("utf-8", "replace"))
    return int(found.group(1)) if found else 1


def _turn_behind_pixels(path: str, image: ImageFile.ImageFile) -> int:
    """The orientation in an eXIf chunk that stands behind the pixels of a PNG, where Pillow looks only once decoded."""
    if image.format != "PNG" or "exif" in image.info:
        return orientation_of(image)
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        at = 8
        while at + 12 <= size:
            file.seek(at)
            head = file.read(8)
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf":
                exif = Image.Exif()
                exif.load(file.read(min(length, 2**16)))
                value = exif.get(_ORIENTATION)
                return value if isinstance(value, int) and 1 <= value <= 8 else 1
            at += 12 + length
    return orientation_of(image)


def _with_colour_key(array: Array, key: object) -> Array:
    """A 16-bit PNG may name one colour that is transparent; give it an alpha channel."""
    if key is None or array.shape[2] not in (1, 3):
        return array
    shown = (array != np.asarray(key, dtype=np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([array, shown.astype(np.uint16) * np.uint16(65535)], axis=2)
