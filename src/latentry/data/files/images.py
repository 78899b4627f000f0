"""One image file to an array and back. The kind of a file is recognised by its content, never by its name."""

from __future__ import annotations

import os
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
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from latentry.data.files import png16, tiff
from latentry.data.files.header import PIXEL_LIMIT, Array, BadImage, Header, check_pixels, upright, upright_size
from latentry.data.files.saving import save
from latentry.data.files.values import in_own_range

__all__ = ["PIXEL_LIMIT", "BadImage", "Header", "decode", "header", "picture", "read", "save"]
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_FORMATS = [
    PngImagePlugin.PngImageFile.format,
    JpegImagePlugin.JpegImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    GifImagePlugin.GifImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
]
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CHANNELS = {"1": 1, "L": 1, "I;16": 1, "I;16B": 1, "LA": 2, "PA": 4, "RGBA": 4, "RGBa": 4}
_MODES = {*_CHANNELS, "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB"}
_ORIENTATION = 274


def header(path: str | os.PathLike[str], limit: int = PIXEL_LIMIT) -> Header:
    """Read only the header. Raises `BadImage` for anything that is not a usable picture or has over `limit` pixels."""
    path = os.fspath(path)
    with reasons(path, limit):
        if _start(path, limit)[:4] in _TIFF_MAGIC:
            facts = tiff.header(path, limit)
            if facts is not None:
                return facts
        with opened(path, limit) as image:
            return _pillow_header(image)


def read(path: str | os.PathLike[str], limit: int = PIXEL_LIMIT) -> Array:
    """Decode to (H, W, C) uint8, uint16, or float32 in [0, 1]; upright; palettes and CMYK as RGB(A); all bits kept.

    Raises `BadValues` for values without a range of their own: signed, 32-bit, or float that leaves 0..1.
    """
    return picture(path, limit)[1]


def picture(path: str | os.PathLike[str], limit: int = PIXEL_LIMIT) -> tuple[Header, Array]:
    """`header` and `read` in one."""
    facts, array = decode(path, limit)
    return facts, in_own_range(os.fspath(path), array)


def decode(path: str | os.PathLike[str], limit: int = PIXEL_LIMIT) -> tuple[Header, Array]:
    """The header and the file's own values, (H, W, C) of `Header.dtype`: signed stay signed, float is not checked."""
    path = os.fspath(path)
    with reasons(path, limit):
        is_tiff = _start(path, limit)[:4] in _TIFF_MAGIC
        facts = tiff.header(path, limit) if is_tiff else None
        if facts is None:
            return _read_pillow(path, limit)
        try:
            return facts, tiff.read(path, limit)
        except (ValueError, ImportError) as error:
            if "imagecodecs" not in str(error):
                raise
        return facts, _read_with_libtiff(path, limit, facts)


def _read_with_libtiff(path: str, limit: int, expected: Header) -> Array:
    """Compressions that tifffile alone lacks, where Pillow keeps every bit of the same file."""
    try:
        array = _read_pillow(path, limit)[1]
    except (BadImage, UnidentifiedImageError, OSError):
        array = np.empty((0, 0, 0), dtype=np.uint8)
    if array.shape[2] == expected.channels and array.dtype.itemsize * 8 == expected.depth:
        return array
    raise BadImage(path, "this TIFF compression needs more codecs: pip install 'latentry[sci]', or save uncompressed")


def _start(path: str, limit: int) -> bytes:
    """The first bytes. WebP sizes are checked here, because opening one already reserves memory for its pixels."""
    with Path(path).open("rb") as file:
        start = file.read(32)
    if not start:
        raise BadImage(path, "empty file")
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        kind = start[12:16]
        if kind == b"VP8X":
            width, height = (1 + int.from_bytes(start[i : i + 3], "little") for i in (24, 27))
        elif kind == b"VP8L":
            bits = int.from_bytes(start[21:25], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        else:
            width, height = (int.from_bytes(start[i : i + 2], "little") & 0x3FFF for i in (26, 28))
        check_pixels(path, width, height, limit)
    return start


@contextmanager
def reasons(path: str, limit: int = PIXEL_LIMIT) -> Iterator[None]:
    """Turn whatever a decoder throws at a damaged file into one `BadImage`."""
    try:
        yield
    except BadImage:
        raise
    except UnidentifiedImageError:
        with Path(path).open("rb") as file:
            raise BadImage(path, f"not an image that can be read (begins with {file.read(8)!r})") from None
    except FileNotFoundError:
        raise BadImage(path, "no such file") from None
    except Image.DecompressionBombError as error:
        count = "".join(filter(str.isdigit, str(error).split("pixels")[0]))
        raise BadImage(path, f"{count} pixels, more than data.pixel_limit = {limit}") from None
    except PermissionError:
        raise BadImage(path, "no permission to read it") from None
    except (OSError, ValueError, SyntaxError, LookupError, ArithmeticError, TypeError, AttributeError) as error:
        raise BadImage(path, _plain(error)) from None
    except (EOFError, MemoryError, RuntimeError, AssertionError, struct.error) as error:
        raise BadImage(path, _plain(error)) from None


def _plain(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return f"damaged: {text}"


@contextmanager
def opened(path: str, limit: int) -> Iterator[ImageFile.ImageFile]:
    """A file opened by Pillow and not yet decoded. Raises `BadImage` for over `limit` pixels and kinds not read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=_FORMATS) as image:
            check_pixels(path, image.width, image.height, limit)
            if image.mode not in _MODES or (image.format == "TIFF" and _bits(image) > 8 and image.mode[:4] != "I;16"):
                raise BadImage(
                    path, f"pixels of kind {image.mode} with {_bits(image)} bits are not read; save 8 or 16 bits"
                )
            yield image


def _bits(image: ImageFile.ImageFile) -> int:
    tags = getattr(image, "tag_v2", None)
    return max(tags.get(258, (8,))) if tags is not None else 32 if image.mode in ("I", "F") else 8


def _pillow_header(image: ImageFile.ImageFile) -> Header:
    orientation = orientation_of(image)
    width, height = upright_size(*image.size, orientation)
    alpha = image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info
    channels = _CHANNELS.get(image.mode, 3)
    if "transparency" in image.info and channels in (1, 3):
        channels += 1
    deep = png16.channels_of(image)
    depth = 16 if deep or image.mode.startswith("I;16") else 8
    frames = int(getattr(image, "n_frames", 1)) if image.format in ("GIF", "WEBP", "PNG", "TIFF") else 1
    name = "JPEG" if image.format == "MPO" else str(image.format)
    cmyk, palette = image.mode == "CMYK", image.mode in ("P", "PA")
    channels = max(channels if deep != 2 else 2, deep)
    if deep == 3 and "transparency" in image.info:
        channels = 4
    return Header(width, height, channels, depth, name, alpha, orientation, frames, cmyk, palette, f"uint{depth}")


def orientation_of(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # asking Pillow would decode the whole picture to look for a chunk behind it
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error):
        return 1  # damaged EXIF data says nothing about the picture
    return int(value) if value in range(1, 9) else 1


def _read_pillow(path: str, limit: int) -> tuple[Header, Array]:
    with opened(path, limit) as image:
        facts = _pillow_header(image)
        array: Array
        if png16.channels_of(image):
            array = png16.read(path)
            array = _with_colour_key(array, image.info.get("transparency"))
        elif image.mode.startswith("I;16"):
            array = _with_colour_key(np.asarray(image).astype(np.uint16)[..., None], image.info.get("transparency"))
        else:
            array = np.asarray(image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[facts.channels]))
        array = array.reshape(array.shape[0], array.shape[1], -1)
        if array.shape[2] != facts.channels:
            raise BadImage(path, f"{array.shape[2]} channels decoded where the header says {facts.channels}")
        return facts, upright(array, facts.orientation)


def _with_colour_key(array: Array, key: object) -> Array:
    """A 16-bit PNG may name one colour that is transparent; give it an alpha channel."""
    if key is None or array.shape[2] not in (1, 3):
        return array
    shown = (array != np.asarray(key, dtype=np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([array, shown.astype(np.uint16) * np.uint16(65535)], axis=2)
