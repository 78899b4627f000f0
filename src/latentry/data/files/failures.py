"""Whatever a decoder throws at a file, as one `BadImage` in words of ours."""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    """The first bytes. Raises `BadImage` for what is no file: opening a pipe would wait for ever."""
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
        raise BadImage(path, f"is {kind}, not a file")
    with Path(path).open("rb") as file:
        start = file.read(132)
    if not start:
        raise BadImage(path, "empty file")
    return start


@contextmanager
def reasons(path: str, limits: Limits) -> Iterator[None]:
    """Turn every failure into a `BadImage`: no text of Python or of a library reaches a person."""
    try:
        yield
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage(path, why_unreadable(path)) from None
    except FileNotFoundError:
        raise BadImage(path, "no such file") from None
    except PermissionError:
        raise BadImage(path, "no permission to read it") from None
    except Image.DecompressionBombError as error:
        count = "".join(filter(str.isdigit, str(error).split("pixels")[0]))
        raise BadImage(path, f"{count} pixels, more than data.pixel_limit = {limits.pixels}") from None
    except MemoryError:
        raise BadImage(path, "there is not enough memory to decode it") from None
    except (Exception, zlib.error, struct.error) as error:
        raise BadImage(path, _plain(path, error)) from None


def _plain(path: str, error: BaseException) -> str:
    text = str(error).lower()
    for pattern, words in _SPOKEN.items():
        if re.search(pattern, text):
            return f"damaged: {words}"
    kind = content_kind(path)
    return f"damaged or of a kind that is not read ({kind})" if kind else "damaged or of a kind that is not read"
