"""Whatever a decoder throws at a file, as one `BadImage` in words of ours."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from latentry.data.files.header import BadImage
from latentry.data.files.kinds import content_kind, why_unreadable
from latentry.data.files.limits import Limits

_SPOKEN = {
    r"truncated|unexpected end|not enough (image )?data|eof": "truncated: the file ends before its picture does",
    r"too large for|text.chunk|text memory": "a text or colour profile in it is far larger than any picture needs",
    r"checksum|crc|broken png|bad header|broken data|data stream": "its data do not fit together",
}
"""What decoders say of damage, as patterns, and what is said instead."""


def start_of(path: str) -> bytes:
    """The first bytes. Raises `BadImage` for what is no file, without waiting for a pipe that nobody writes to."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
            raise BadImage(path, f"is {kind}, not a file")
        start = os.read(descriptor, 132)
    finally:
        os.close(descriptor)
    if not start:
        raise BadImage(path, "empty file")
    return start


@contextmanager
def reasons(path: str, limits: Limits, name: str = "") -> Iterator[None]:
    """Turn every failure into a `BadImage`: no text of Python or of a library reaches a person.

    name: what the error names, where that is not the file alone but an image in it.
    """
    try:
        yield
    except BadImage as error:
        if name in ("", error.path):
            raise
        raise BadImage(name, error.reason) from None
    except Exception as error:  # whatever a decoder throws: each has errors of its own
        raise BadImage(name or path, _reason(path, error, limits)) from None


def _reason(path: str, error: Exception, limits: Limits) -> str:
    if isinstance(error, UnidentifiedImageError):
        return why_unreadable(path)
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, Image.DecompressionBombError):
        count = "".join(filter(str.isdigit, str(error).split("pixels")[0]))
        return f"{count} pixels, more than data.pixel_limit = {limits.pixels}"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    return _plain(path, error)


def _plain(path: str, error: BaseException) -> str:
    text = str(error).lower()
    for pattern, words in _SPOKEN.items():
        if re.search(pattern, text):
            return f"damaged: {words}"
    kind = content_kind(path)
    return f"damaged or of a kind that is not read ({kind})" if kind else "damaged or of a kind that is not read"
