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
    """(H, W) in pixels. Raises UsageError for what the networks cannot draw."""
    from latentry.models.config import check_size

    height, width = model.config.data.size if size is None else (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise UsageError(f"size {height}x{width}: give (height, width), both above 0")
    if max(height, width) > LARGEST_SIDE:
        raise UsageError(f"size: {height}x{width}; sides are at most {LARGEST_SIDE} pixels")
    unet = None if model.denoiser is None else model.denoiser.options.unet
    problem = check_size((height, width), model.config.autoencoder, unet)
    if problem:
        raise UsageError(problem)
    return height, width
