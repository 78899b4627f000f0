"""TIFF as the world writes it.

`parse` reads tags, `page` what they mean, `stack` which pages are images, `segments` (with `layout`, `codecs` and
`pictures`) the samples; `colour` makes the picture.
"""

from __future__ import annotations

import numpy as np

from latentry.data.files.header import Array, BadImage, Header, check_size, upright, upright_size
from latentry.data.files.limits import Limits
from latentry.data.files.tiff import colour, segments
from latentry.data.files.tiff.page import PALETTE, SEPARATED, Page, no_data
from latentry.data.files.tiff.parse import MAGIC, Tiff
from latentry.data.files.tiff.stack import Stack, stack_of

__all__ = ["MAGIC", "header", "read"]


def header(path: str, limits: Limits, index: int = 0) -> Header:
    """Facts of image `index` of a file. Raises `BadImage` for kinds that are not read, and for more than the limits."""
    with Tiff(path) as tiff:
        stack = stack_of(tiff, limits.pages)
        return _header(path, stack, _image(path, stack, index), limits)


def read(path: str, limits: Limits, index: int = 0) -> Array:
    """Decode to (H, W, C) of the header's dtype. Extra samples are bands, never transparency."""
    with Tiff(path) as tiff:
        stack = stack_of(tiff, limits.pages)
        pages = _image(path, stack, index)
        facts = _header(path, stack, pages, limits)
        made = colour.made_of(pages[0])
        if len(pages) == 1:
            array = _decoded(pages[0], limits)
        else:
            shape = (pages[0].height, pages[0].width, len(pages) * made.channels)
            array = np.empty(shape, made.dtype)
            for n, page in enumerate(pages):
                array[..., n * made.channels : (n + 1) * made.channels] = _decoded(page, limits)
            if stack.bands_last:
                array = np.ascontiguousarray(array.transpose(2, 0, 1))
        return upright(array, facts.orientation)


def _image(path: str, stack: Stack, index: int) -> tuple[Page, ...]:
    if index >= len(stack.images):
        raise BadImage(path, f"has {len(stack.images)} images, not one of number {index}")
    return stack.images[index]


def _header(path: str, stack: Stack, pages: tuple[Page, ...], limits: Limits) -> Header:
    page = pages[0]
    made = colour.made_of(page)
    width, height, channels = page.width, page.height, made.channels * len(pages)
    if stack.bands_last:
        width, height, channels = page.height, len(pages), page.width
    # Samples are held as they are stored (up to 64 bits, CMYK's four) before they become the picture's.
    widest = max(np.dtype(made.dtype).itemsize * made.channels, page.dtype.itemsize * page.samples) * len(pages)
    check_size(path, width, height, -(-widest * page.width * page.height // (width * height)), limits)
    width, height = upright_size(width, height, page.orientation)
    dtype = np.dtype(made.dtype)
    return Header(
        width,
        height,
        channels,
        8 * dtype.itemsize,
        "TIFF",
        orientation=page.orientation,
        frames=len(stack.images),
        cmyk=page.photometric == SEPARATED,
        palette=page.photometric == PALETTE,
        dtype=made.dtype,
        bits=made.bits,
        no_data=no_data(page),
        stack=_notes(stack),
    )


def _notes(stack: Stack) -> tuple[str, ...]:
    notes = [stack.taken] if stack.taken else []
    if stack.others:
        notes.append(f"{stack.others} pages of another kind than the first are not read")
    if stack.masks:
        notes.append("its mask of valid pixels is not used")
    return tuple(notes)


def _decoded(page: Page, limits: Limits) -> Array:
    samples = np.empty((page.height, page.width, page.samples), page.dtype)
    segments.fill(page, samples, limits.bytes)
    return colour.picture(page, samples)
