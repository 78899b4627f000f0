"""The size of images to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le
from pydantic import BeforeValidator

from latentry.bounds import LARGEST_SIDE
from latentry.errors import UsageError, shown
from latentry.text import number

if TYPE_CHECKING:
    from latentry.models.model import Model


def parse_size(text: str) -> tuple[int, int]:
    """`96x64` as (height, width); `64` is a square. Raises ValueError."""
    parts = text.lower().split("x")
    sides = [number(part) for part in parts]
    if len(parts) > 2 or not all(side and 0 < side <= LARGEST_SIDE for side in sides):
        raise ValueError(f'found "{shown(text)}"; accepted: HEIGHTxWIDTH in pixels up to {LARGEST_SIDE}, as in 96x64')
    return sides[0] or 0, sides[-1] or 0


def _from_text(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


_Side = Annotated[int, Ge(0), Le(LARGEST_SIDE)]
Size = Annotated[_Side | tuple[_Side, _Side] | None, BeforeValidator(_from_text)]
"""(H, W) in pixels, one number for a square, or `HxW`; None is the size the model was trained on."""


def fitting_size(size: int | tuple[int, int] | None, model: Model) -> tuple[int, int]:
    """(H, W) in pixels: multiples of f, whatever the UNet's factor. Raises UsageError for what cannot be drawn."""
    from latentry.models.config import check_size

    height, width = model.config.data.size if size is None else (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise UsageError(f"size {height}x{width}: give (height, width), both above 0")
    if max(height, width) > LARGEST_SIDE:
        raise UsageError(f"size: {height}x{width}; sides are at most {LARGEST_SIDE} pixels")
    problem = check_size((height, width), model.config.autoencoder, None)
    if problem:
        raise UsageError(problem)
    return height, width


def fitting_tile(tile: int | None, overlap: int | None, model: Model) -> tuple[int, int] | None:
    """Side and overlap of tiles in latent pixels, of those in pixels; None: the latent whole.

    overlap: None is a quarter of a tile. Raises UsageError for sides that the networks do not divide.
    """
    if tile is None:
        if overlap is not None:
            raise UsageError(f"overlap: {overlap} without tiles; give their side in pixels too, as in tile 64")
        return None
    assert model.denoiser is not None
    factor = model.autoencoder.factor
    multiple = factor * model.denoiser.options.unet.factor
    if tile % multiple:
        near = dict.fromkeys((max(tile // multiple, 1) * multiple, -(-tile // multiple) * multiple))
        raise UsageError(f"tile: {tile}; accepted: multiples of {multiple}, nearest: {' or '.join(map(str, near))}")
    side = tile // factor
    if overlap is None:
        return side, side // 4
    if overlap % factor or overlap >= tile:
        raise UsageError(f"overlap: {overlap}; accepted: multiples of {factor} below the tile's {tile}")
    return side, overlap // factor
