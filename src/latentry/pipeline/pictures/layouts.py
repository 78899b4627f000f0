"""What a layout asked for, drawn over a pale copy of the sample: boxes in colour, with the names of their classes."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from latentry.conditioning.boxes import Told
from latentry.conditioning.layout import Layout
from latentry.models.latent_diffusion import LatentDiffusion

LEAST = 384
"""Pixels of the shorter side, at which names can be read."""
PALE = 0.6
"""How much of the sample is white."""
Colour = tuple[int, int, int]
Place = tuple[float, float, float, float]


def told(denoiser: LatentDiffusion | None, values: Mapping[str, Sequence[Any]]) -> list[list[Told]]:
    """The boxes of each image of a request, as its tokens say; empty where it has no layout."""
    conditioners = {} if denoiser is None else denoiser.named_conditioners()
    layouts = [(c, values[name]) for name, c in conditioners.items() if isinstance(c, Layout) and name in values]
    return [[] if value is None else conditioner.boxes(value) for conditioner, row in layouts[:1] for value in row]


def picture(sample: Image.Image, boxes: Sequence[Told]) -> Image.Image:
    """The boxes on an RGB sample, enlarged in whole steps so far that names can be read; larger boxes lie behind."""
    times = max(1, math.ceil(LEAST / min(sample.size)))
    width, height = sample.width * times, sample.height * times
    large = sample.convert("RGB").resize((width, height), Image.Resampling.NEAREST)
    canvas = Image.blend(large, Image.new("RGB", large.size, "white"), PALE)
    draw, side = ImageDraw.Draw(canvas), min(width, height)
    line, font = max(2, side // 150), ImageFont.load_default(max(13, side // 26))
    colours = _colours([box.label for box in boxes])
    written: list[Place] = []
    frames = [(box, _frame(box, width - 1, height - 1)) for box in sorted(boxes, key=_area, reverse=True)]
    for box, frame in frames:
        draw.rectangle(frame, outline=colours[box.label], width=line)
    for box, frame in frames:
        _write(draw, str(box.label), frame, font, colours[box.label], written, (width, height))
    return canvas


def _frame(box: Told, right: int, bottom: int) -> Place:
    return box.corners[0] * right, box.corners[1] * bottom, box.corners[2] * right, box.corners[3] * bottom


def _area(box: Told) -> float:
    left, top, right, bottom = box.corners
    return (right - left) * (bottom - top)


def _colours(labels: Sequence[str | int]) -> dict[str | int, Colour]:
    """One for each class: hues a golden section apart, so that neighbours differ."""
    hues = {label: 0.02 + 0.618034 * number for number, label in enumerate(dict.fromkeys(labels))}
    shades = {label: colorsys.hsv_to_rgb(hue % 1, 0.85, 0.75) for label, hue in hues.items()}
    return {label: (round(255 * r), round(255 * g), round(255 * b)) for label, (r, g, b) in shades.items()}


def _write(
    draw: ImageDraw.ImageDraw,
    name: str,
    frame: Place,
    font: Any,
    colour: Colour,
    written: list[Place],
    size: tuple[int, int],
) -> None:
    """The name on a plate of the box's colour, at the first of its corners where no other name stands."""
    _, _, right, bottom = draw.textbbox((0, 0), name, font=font)
    wide, high = right + 6, bottom + 4
    corners = ((x, y) for y in (frame[1], frame[3] - high) for x in (frame[0], frame[2] - wide))
    inside = [(max(0.0, min(x, size[0] - wide)), max(0.0, min(y, size[1] - high))) for x, y in corners]
    plates = [(x, y, x + wide, y + high) for x, y in inside]
    plate = next((one for one in plates if not any(_meet(one, other) for other in written)), plates[0])
    written.append(plate)
    draw.rectangle(plate, fill=colour)
    draw.text((plate[0] + 3, plate[1] + 2), name, font=font, fill="white")


def _meet(a: Place, b: Place) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
