"""What one request may ask of a server: told before anything is computed, as far as its options tell it."""

from __future__ import annotations

from typing import Any

from latentry.errors import UsageError
from latentry.pipeline.pictures.drawing import Drawing
from latentry.serve.options import ServeOptions
from latentry.tasks.options import TaskOptions

SIDES = ("left", "right", "top", "bottom")


def check_options(options: TaskOptions, limits: ServeOptions) -> None:
    """Raises UsageError for checked options beyond the limits."""

    def asked(name: str) -> Any:
        return getattr(options, name, None)

    if options.count > limits.most_images:
        raise UsageError(f"n: {options.count} images; at most {limits.most_images} at a time here. Ask for fewer.")
    if (asked("steps") or 0) > limits.most_steps:
        raise UsageError(f"steps: {asked('steps')}; at most {limits.most_steps} here. Ask for fewer.")
    size = asked("size")
    height, width = (size, size) if isinstance(size, int) else size or (0, 0)
    _check_pixels(height * width * options.count, limits)
    longest = limits.most_pixels**0.5
    for side in SIDES:
        if (asked(side) or 0) > longest:
            raise UsageError(f"{side}: {asked(side)} pixels; at most {int(longest)} here. Ask for fewer.")
    tile, overlap = asked("tile"), asked("overlap")
    if tile is not None and overlap is not None and 2 * overlap > tile:
        raise UsageError(f"overlap: {overlap}; at most half of the tile's {tile} here. Ask for less.")


def check_drawing(drawing: Drawing, limits: ServeOptions) -> None:
    """Raises UsageError for a request whose images turn out larger or slower than the limits."""
    height, width = drawing.request.size
    _check_pixels(height * width * drawing.request.count, limits)
    if sum(drawing.calls) > limits.most_steps:
        raise UsageError(
            f"steps: {sum(drawing.calls)} network evaluations of an image; at most {limits.most_steps} here. "
            "Ask for fewer, or of `resample` less."
        )


def _check_pixels(pixels: int, limits: ServeOptions) -> None:
    if pixels > limits.most_pixels:
        raise UsageError(f"size: {pixels} pixels in all; at most {limits.most_pixels} at a time here. Ask for less.")
