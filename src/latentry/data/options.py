"""What a recipe's `data:` says."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator, model_validator

from latentry.bounds import Name, Side, Value, Whole
from latentry.data.files.limits import BYTE_LIMIT, PIXEL_LIMIT, Limits, Pages
from latentry.errors import shown
from latentry.kinds import Options

NAMED_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}
Scalar = str | Whole | Value | bool | None
_Percent = Annotated[float, Field(ge=0, le=100)]
AUTO_CHANNELS = 0
"""`data.channels: auto`, which a recipe settles by the images before they are read."""


def _number_of_channels(value: Any) -> Any:
    return AUTO_CHANNELS if value == "auto" else value


def _channels_written(value: int) -> int | str:
    return "auto" if value == AUTO_CHANNELS else value


def _off(value: Any) -> Any:
    """Other writers of YAML make `false` of `off`."""
    return "off" if value is False else value


_Channels = Annotated[
    int,
    BeforeValidator(_number_of_channels),
    PlainSerializer(_channels_written),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 512}, {"const": "auto"}]}),
]


class DataOptions(Options):
    """How a folder of images becomes samples.

    size: side in pixels, or [height, width]. channels: of the images that the model takes; auto: what all images have,
    3 for colours among greys. background: colour behind transparency; null keeps transparency as a channel. depth: bits
    a channel, 8, 16, or auto (what the files have).
    range: [low, high] in the files' own units, `file` (each image by its own percentiles), `set` (percentiles over
    all), or auto: what the type can hold. percentiles: of file and set. no_data: the value where nothing was measured,
    auto: what each file names. text, label: metadata fields (label: folder = first subfolder's name). boxes: field with
    objects' boxes and classes.
    semantic, mask: fields naming image files of class numbers, and of zero or not. arrays: fields naming .npy files.
    where: keep images whose fields have these values (`*`: any). balance: draw each value of this field equally often.
    flip: mirror half of the draws. crop: cover the size and cut the middle or a random part, or pad to it.
    split_by: images alike in this field go to one side of the split.
    splits: auto heeds folders at the top called train, test, val, ... and a field `split`; off does not.
    held_out: share kept from training. max_bad: files that may be skipped. enlarge: a file that would be enlarged more
    counts as bad. pixel_limit, byte_limit: most pixels an image may have, most bytes its decoded values may take.
    pages: of a file with several images: the first, each, or all pages as bands of one; auto is what its axes say.
    """

    size: Side | tuple[Side, Side] = 64
    channels: _Channels = Field(3, ge=AUTO_CHANNELS, le=512)
    background: str | None = "white"
    depth: Literal["auto", 8, 16] = "auto"
    range: Literal["auto", "file", "set"] | tuple[Value, Value] = "auto"
    percentiles: tuple[_Percent, _Percent] = (0.1, 99.9)
    no_data: Literal["auto", "nan"] | Value = "auto"
    text: str | None = None
    label: str | None = None
    boxes: str | None = None
    semantic: str | None = None
    mask: str | None = None
    arrays: tuple[Name, ...] = Field((), max_length=100)
    where: dict[Name, Scalar | Annotated[list[Scalar], Field(max_length=100_000)]] = Field({}, max_length=1000)
    balance: str | None = None
    flip: bool = False
    crop: Literal["center", "random", "pad"] = "center"
    split_by: str | None = None
    splits: Annotated[Literal["auto", "off"], BeforeValidator(_off)] = "auto"
    held_out: float = Field(0.1, ge=0, lt=1)
    max_bad: int = Field(10, ge=0, le=1_000_000_000)
    enlarge: float = Field(8.0, ge=1, le=16384)
    pixel_limit: int = Field(PIXEL_LIMIT, ge=1, le=178_956_970)
    byte_limit: int = Field(BYTE_LIMIT, ge=1, le=2**40)
    pages: Pages = "auto"

    @field_validator("background")
    @classmethod
    def _known_colour(cls, value: str | None) -> str | None:
        if value is None or value in NAMED_COLOURS or re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            return value
        raise ValueError(f'no colour "{shown(value)}"; accepted: white, black, "#rrggbb", null')

    @field_validator("range", mode="before")
    @classmethod
    def _absent_is_auto(cls, value: Any) -> Any:
        return "auto" if value is None else value

    @field_validator("no_data", mode="before")
    @classmethod
    def _nan_by_name(cls, value: Any) -> Any:
        """NaN as text: no number equals it, so that a resumed run would seem to be another."""
        return "auto" if value is None else "nan" if isinstance(value, float) and math.isnan(value) else value

    @model_validator(mode="after")
    def _rising(self) -> DataOptions:
        for name in ("range", "percentiles"):
            pair = getattr(self, name)
            if isinstance(pair, tuple) and not pair[0] < pair[1]:
                raise ValueError(f"{name} {list(pair)}: the first must be below the second")
        if self.range != "auto" and self.depth != "auto":
            raise ValueError(f"depth {self.depth} with range: values go by the range alone; leave depth out")
        return self

    @model_validator(mode="after")
    def _gray_behind_gray(self) -> DataOptions:
        if 0 < self.channels < 3 and len(set(self.colour or (0,))) > 1:
            raise ValueError(f"background {self.background} is not a gray, but channels is {self.channels}")
        return self

    @property
    def height_width(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def limits(self) -> Limits:
        """How files are read."""
        return Limits(self.pixel_limit, self.byte_limit, self.pages)

    @property
    def colour(self) -> tuple[int, int, int] | None:
        """The background as 8-bit red, green, blue."""
        if self.background is None:
            return None
        text = self.background
        return NAMED_COLOURS.get(text) or (int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16))

    def listed(self, field: str) -> list[Any]:
        """The accepted values of one field of `where`."""
        value = self.where[field]
        return value if isinstance(value, list) else [value]
