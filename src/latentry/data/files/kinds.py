"""What a file is by its first bytes, where it is not what its name says."""

from __future__ import annotations

import os

POINTER = "a git-lfs pointer, not the image itself: run `git lfs pull` in the folder"
"""The reason for which such a file cannot be used."""
_POINTER = b"version https://git-lfs"
_OURS = ("PNG", "JPEG", "WebP", "BMP", "GIF", "TIFF")
_FOREIGN = (
    (0, b"ZISRAWFILE", "CZI"),
    (0, b"8BPS", "PSD"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x89HDF\r\n", "HDF5"),
    (0, b"\x93NUMPY", "NumPy"),
    (0, b"%PDF", "PDF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (128, b"DICM", "DICOM"),
    (344, b"n+1\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI"),
)
_IMAGES = (
    (0, b"\x89PNG", "PNG"),
    (1, b"PNG\r\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
)
_READ = 512


def _start(path: str | os.PathLike[str]) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, _READ)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def content_kind(path: str | os.PathLike[str]) -> str | None:
    """The kind of picture, volume or archive that the first bytes say a file is; None for any other."""
    return _kind(_start(path))


def _kind(start: bytes) -> str | None:
    for place, magic, name in (*_IMAGES, *_FOREIGN):
        if start.startswith(magic, place):
            return name
    return None


def why_unreadable(path: str | os.PathLike[str]) -> str:
    """The reason for which a file that no decoder recognises cannot be used."""
    start = _start(path)
    if start.startswith(_POINTER):
        return POINTER
    kind = _kind(start)
    if kind in _OURS:
        return f"damaged: it begins as a {kind} file, but its header cannot be read"
    if kind is not None:
        return f"not an image that can be read, but {kind} under another name"
    if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "not an image that can be read, but a web page: its download went wrong"
    if start and not start.strip(b"\0"):
        return "damaged: it begins with zeros alone, as a copy or download that broke off does"
    return f"not an image that can be read (begins with {start[:8]!r})"
