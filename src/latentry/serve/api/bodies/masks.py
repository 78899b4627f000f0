"""Masks as OpenAI's clients send them, transparent where to edit, as `inpaint` takes them: white there."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from latentry.data.files import images
from latentry.data.files.header import BadImage
from latentry.data.files.limits import Limits
from latentry.errors import UsageError


@contextmanager
def as_file(content: bytes) -> Iterator[Path]:
    """A file of these bytes, while it is needed: the data layer reads files."""
    with tempfile.NamedTemporaryFile(prefix="latentry-", suffix=".img") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def as_hole(content: bytes, limits: Limits, *, needed: bool = False) -> bytes | None:
    """A PNG, white where a picture is wholly transparent; None for one that nowhere is.

    needed: of a mask, which must be so somewhere; one without transparency is taken as it is: white where to edit.
    Raises UsageError for what is no picture.
    """
    with as_file(content) as path:
        try:
            header, array = images.decode(path, limits)
        except BadImage as error:
            raise UsageError(f"{'mask' if needed else 'image'}: {error.reason}; accepted: an image file.") from None
    if not header.alpha:
        return content if needed else None
    hole = array[..., -1] == 0
    if not hole.any() and not needed:
        return None
    if not hole.any():
        raise UsageError("mask: nothing to edit; accepted: a mask that is transparent where to edit.")
    buffer = io.BytesIO()
    Image.fromarray(np.where(hole, 255, 0).astype(np.uint8), "L").save(buffer, "PNG")
    return buffer.getvalue()
