"""Which pages of a TIFF are images, bands of one, or something else: overviews, masks, labels."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace

import numpy as np

from latentry.data.files.limits import Pages
from latentry.data.files.tiff.page import Page, page_of
from latentry.data.files.tiff.parse import Tiff

FEW = 8
"""So many pages, of which nothing says what they are, are taken for bands; more are a stack."""


@dataclass(frozen=True)
class Stack:
    """images: for each image of the file, the pages that are its bands, in order. axes: what the pages are, slowest
    first, as (letter, size); empty where nothing says so. others: pages of another size. overviews: smaller copies.
    bands_last: pages are rows, their columns bands: how (H, W, bands) is written where nobody says what is what.
    taken: in words, what is read; empty where there is but one page.
    """

    images: tuple[tuple[Page, ...], ...]
    axes: tuple[tuple[str, int], ...] = ()
    others: int = 0
    overviews: int = 0
    masks: int = 0
    bands_last: bool = False
    taken: str = ""


def stack_of(tiff: Tiff, pages: Pages) -> Stack:
    """Read all directories and sort them. Raises `BadImage` where none is a picture."""
    full: list[Page] = []
    overviews = masks = 0
    for directory in tiff.directories():
        page = page_of(directory)
        if page.reduced:
            overviews += 1
        elif page.mask:
            masks += 1
        else:
            full.append(page)
    if not full:
        raise tiff.refused("holds no picture at full size")
    like = [page for page in full if page.like == full[0].like]
    others = len(full) - len(like)
    described = full[0].directory.text(270)
    axes = axes_of(described, full[0])
    like += _sharing_tags(like, math.prod(size for _, size in axes))
    axes = axes if math.prod(size for _, size in axes) == len(like) else ()
    return replace(_sorted(like, axes, pages, described), others=others, overviews=overviews, masks=masks)


def axes_of(described: str, page: Page) -> tuple[tuple[str, int], ...]:
    """(letter, size) of what pages are, slowest first, as OME, ImageJ or tifffile write it; empty where none does."""
    if "<OME" in described[:4096] or ":OME" in described[:4096]:
        return _ome_axes(described, page)
    if described.startswith("ImageJ="):
        sizes = dict(re.findall(r"^(frames|slices|channels|images)=(\d{1,6})\r?$", described, re.MULTILINE))
        named = [("T", "frames"), ("Z", "slices"), ("C", "channels")]
        axes = [(letter, int(sizes[key])) for letter, key in named if int(sizes.get(key, 1)) > 1]
        return tuple(axes or [("I", int(sizes.get("images", 1)))])
    shape, letters = _shaped(described)
    if len(letters) == len(shape) and "Y" in letters:
        before = letters.index("Y")
        axes = [(letter, size) for letter, size in zip(letters[:before], shape, strict=False) if size > 1]
        return () if any(letter in "QS" for letter, _ in axes) else tuple(axes)
    return ()


def _ome_axes(described: str, page: Page) -> tuple[tuple[str, int], ...]:
    found = re.search(r"<(?:\w+:)?Pixels\s([^>]*)>", described)
    values = dict(re.findall(r"(\w+)\s*=\s*[\"']([^\"']*)[\"']", found.group(1))) if found else {}
    order = values.get("DimensionOrder", "")
    sizes = {letter: values.get(f"Size{letter}", "") for letter in "ZCT"}
    if sorted(order) != sorted("XYZCT") or not all(re.fullmatch(r"\d{1,6}", size) for size in sizes.values()):
        return ()
    numbers = {letter: int(size) for letter, size in sizes.items()}
    numbers["C"] //= page.samples
    return tuple((letter, numbers[letter]) for letter in reversed(order[2:]) if numbers[letter] > 1)


def _shaped(described: str) -> tuple[tuple[int, ...], str]:
    """The shape that tifffile notes, and its axes where they were named."""
    try:
        noted = json.loads(described) if described.startswith('{"shape"') else {}
    except (ValueError, RecursionError):
        noted = {}
    shape, letters = noted.get("shape"), noted.get("axes", "")
    if isinstance(shape, list) and all(isinstance(n, int) for n in shape) and isinstance(letters, str):
        return tuple(shape), letters
    return (), ""


def _sharing_tags(like: list[Page], count: int) -> list[Page]:
    """ImageJ writes one directory for all pages of a large stack, their pixels one behind the other."""
    page = like[0]
    if len(like) > 1 or count < 2 or page.compression != 1 or page.separate or page.tiled:
        return []
    size = page.height * (-(-page.width * page.samples * page.bits // 8))
    first = page.directory.number(273, 0)
    if not first or first + count * size > page.tiff.size:
        return []
    return [replace(page, shift=n * size) for n in range(1, count)]


def _sorted(like: list[Page], axes: tuple[tuple[str, int], ...], pages: Pages, described: str) -> Stack:
    count = len(like)
    if count == 1:
        return Stack(((like[0],),))
    named = ", ".join(f"{letter} {size}" for letter, size in axes) or "axes not named"
    what = f"{count} pages ({named})"
    every = (tuple(like),)
    if pages == "bands":
        return Stack(every, axes, taken=f"{what}: read as {count * like[0].samples} bands")
    if pages == "auto" and _bands_last(like, axes, described):
        return Stack(every, axes, bands_last=True, taken=f"{what}: read as {count} rows of {like[0].width} bands")
    if pages == "auto" and not axes and count <= FEW:
        return Stack(every, axes, taken=f"{what}: read as {count * like[0].samples} bands; data.pages says otherwise")
    images = _positions(like, axes)
    bands = f" of {len(images[0])} bands (C)" if len(images[0]) > 1 else ""
    if len(images) == 1:
        taken = f"{what}: read as {len(images[0])} bands"
    elif pages == "each":
        taken = f"{what}: {len(images)} images{bands}, each used"
    else:
        taken = f"{what}: {len(images)} images{bands}, only the first is used; data.pages: each or bands takes all"
    return Stack(images, axes, taken=taken)


def _bands_last(like: list[Page], axes: tuple[tuple[str, int], ...], described: str) -> bool:
    """Written without named axes, (H, W, bands) becomes H pages of W x bands: the smaller end is the bands."""
    page = like[0]
    shape = (len(like), page.height, page.width)
    few = page.width <= 2 * FEW and page.width < min(len(like), page.height)
    return not axes and page.samples == 1 and few and _shaped(described) == (shape, "")


def _positions(like: list[Page], axes: tuple[tuple[str, int], ...]) -> tuple[tuple[Page, ...], ...]:
    """The pages of each image: those that differ only in their channel belong to one."""
    letters, sizes = [letter for letter, _ in axes], [size for _, size in axes]
    if "C" not in letters:
        return tuple((page,) for page in like)
    order = np.moveaxis(np.arange(len(like)).reshape(sizes), letters.index("C"), -1)
    return tuple(tuple(like[n] for n in row) for row in order.reshape(-1, order.shape[-1]).tolist())
