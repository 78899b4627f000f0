"""What `latentry bench` is asked for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from latentry.bounds import LARGEST_SIDE
from latentry.errors import UsageError
from latentry.kinds import Options
from latentry.models.modes.mode import Mode

Images = Annotated[int, Field(ge=1, le=100_000)]
Evaluations = Annotated[int, Field(ge=1, le=1_000_000)]
Length = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Part = Literal["step", "decode", "samples", "training"]
PARTS: tuple[Part, ...] = ("step", "decode", "samples", "training")


class BenchOptions(Options):
    """Every list is measured in all combinations, the cheapest first, as far as the budget reaches.

    batch: images worked on at once. steps: network evaluations of a sample; none: the model's own. modes: how the
    network runs (`Mode`); none: as it is, in the usual mode of the device, and in that with bf16 where the
    device has it. size: (H, W) of the images; none: the model's. images: how many a request draws; none: one batch.
    parts: of `PARTS`, what is measured. against: another program with the same weights. budget: seconds in all, about;
    what is begun is ended. rounds: times that each thing is done, at most.
    """

    batch: tuple[Images, ...] = Field((1, 4, 16), max_length=20)
    steps: tuple[Evaluations, ...] = Field((), max_length=20)
    modes: tuple[str, ...] = Field((), max_length=40)
    size: tuple[tuple[Length, Length], ...] = Field((), max_length=20)
    images: tuple[Images, ...] = Field((), max_length=20)
    parts: tuple[Part, ...] = Field(PARTS, max_length=4)
    against: Literal["diffusers"] | None = None
    budget: float = Field(120.0, ge=1, le=1e6)
    rounds: int = Field(7, ge=1, le=1000)

    @field_validator("batch", "parts", mode="after")
    @classmethod
    def _some(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            raise ValueError("none given; accepted: at least one")
        return values

    @field_validator("modes", mode="after")
    @classmethod
    def _known(cls, modes: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(str(Mode.parse(mode, "mode")) for mode in modes))
        except UsageError as error:
            raise ValueError(str(error)) from None

    @field_validator("batch", "steps", "images", "size", mode="after")
    @classmethod
    def _rising(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(sorted(set(values)))
