"""The size of images to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from latentry.errors import UsageError

if TYPE_CHECKING:
    from latentry.models.model import Model

MOST_PIXELS = 16_384


def parse_size(text: str) -> tuple[int, int]:
    """`96x64` as (height, width); `64` is a square. Raises ValueError."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise ValueError(f'found "{text}"; accepted: HEIGHTxWIDTH in pixels, as in 96x64')
    return int(parts[0]), int(parts[-1])


def _from_text(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


Size = Annotated[int | tuple[int, int] | None, BeforeValidator(_from_text)]
"""(H, W) in pixels, one number for a square, or `HxW`; None is the size the model was trained on."""


def fitting_size(size: int | tuple[int, int] | None, model: Model) -> tuple[int, int]:
    """(H, W) in pixels. Raises UsageError for what the networks cannot draw."""
    from latentry.models.config import check_size

    height, width = model.config.data.size if size is None else (size, size) if isinstance(size, int) else size
    shown = f"{height}x{width}"
    if min(height, width) < 1:
        raise UsageError(f"size {shown}: give (height, width), both above 0")
    if max(height, width) > MOST_PIXELS:
        raise UsageError(f"size: {shown}; sides are at most {MOST_PIXELS} pixels")
    unet = None if model.denoiser is None else model.denoiser.options.unet
    problem = check_size((height, width), model.config.autoencoder, unet)
    if problem:
        raise UsageError(problem)
    return height, width
