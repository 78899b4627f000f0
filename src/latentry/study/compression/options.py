"""What a compression study is asked for, and the file that says what was decided."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import Field, field_validator

from latentry.bounds import Count, Name, Seed, Steps
from latentry.errors import shown
from latentry.kinds import Options
from latentry.text import printable

VERSION = 1
FACTORS = (1, 2, 4, 8, 16, 32)
"""Those of the paper's section 4.1; 1 is a diffusion model of pixels."""
Seconds = Annotated[float, Ge(0), Le(1e9)]
Parameters = Annotated[int, Ge(10_000), Le(10_000_000_000)]
Several = MaxLen(20)


class CompressionOptions(Options):
    """Which factors are compared on which images, and how long that may take."""

    data: Path | None = Field(None, description="Folder of images; without it those that the recipe draws.")
    recipe: Name = Field("small-64", description="What all factors share: data, objectives, rates, batches.")
    changes: Annotated[tuple[Name, ...], MaxLen(200)] = Field((), description="Changes of the recipe, KEY=VALUE.")
    factors: Annotated[tuple[Annotated[int, Ge(-(10**9)), Le(10**9)], ...], Several] = Field(
        FACTORS, description="Downsampling factors to compare."
    )
    budget: Annotated[float, Gt(0), Le(1e7)] = Field(60.0, description="Minutes for all of it, about.")
    parameters: Parameters = Field(1_000_000, description="Of each denoiser; a first stage has a quarter of it.")
    first_share: Annotated[float, Ge(0.05), Le(0.8)] = Field(
        0.3, description="Share of a factor's training that goes to its first stage."
    )
    checkpoints: Annotated[int, Ge(1), Le(100)] = Field(4, description="How often each training is measured.")
    steps: Annotated[tuple[Count, ...], Several] = Field(
        (5, 10, 20), description="Sampling steps (DDIM) to measure at the end; the most of them while training."
    )
    samples: Annotated[int, Ge(32), Le(100_000)] = Field(256, description="Samples of each measurement.")
    seed: Seed | None = Field(None, description="Of training and samples; default: the recipe's.")

    @field_validator("factors")
    @classmethod
    def _known(cls, factors: tuple[int, ...]) -> tuple[int, ...]:
        wrong = [shown(f) for f in factors if f not in FACTORS]
        accepted = ", ".join(map(str, FACTORS))
        if wrong:
            raise ValueError(f"found {', '.join(wrong)}; accepted: {accepted}, at least two of them")
        if len(set(factors)) < 2:
            raise ValueError(f"found {len(set(factors))}; a comparison needs at least two of {accepted}")
        return tuple(sorted(set(factors)))

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if not steps:
            raise ValueError("found none; accepted: numbers of sampling steps, as 5,10,20")
        return tuple(sorted(set(steps)))

    def given(self) -> dict[str, Any]:
        """The values that were named, plain: a path as the text of what it leads to."""
        return {
            name: printable(str(value.resolve()))
            if isinstance(value, Path)
            else list(value)
            if isinstance(value, tuple)
            else value
            for name in self.model_fields_set
            if (value := getattr(self, name)) is not None
        }


class Costs(Options):
    """Seconds, measured before the study began. encode: the images of a batch of the second stage, read and encoded.

    first, second: a step of each stage, the second's without reading. draw: one sampling step of one sample, its share
    of the decoder included. gflops: of the denoiser for one image, once.
    """

    first: Seconds = 0.0
    second: Seconds
    encode: Seconds
    draw: Seconds
    gflops: Seconds = 0.0


class Spent(Options):
    """How a factor's compute is spent. cached: latents are encoded once, which takes `encoding` seconds.

    first, second: steps of the stages; second_every: a checkpoint of the second is measured, save: saved.
    """

    first: Annotated[int, Ge(0), Le(1_000_000_000)]
    second: Steps
    second_every: Steps
    save: Steps
    cached: bool
    encoding: Seconds


class Part(Options):
    """One factor, decided. latent: (c, h, w). first_parameters: 0 for f = 1."""

    factor: Annotated[int, Ge(1), Le(32)]
    latent: tuple[Count, Count, Count]
    parameters: Parameters
    first_parameters: Annotated[int, Ge(0), Le(10_000_000_000)]
    costs: Costs
    spent: Spent

    def seconds(self, step: int) -> float:
        """Compute spent when the second stage is at a step, at the costs measured; with first stage and encoding."""
        own = self.costs.second + (0.0 if self.spent.cached else self.costs.encode)
        return self.spent.first * self.costs.first + self.spent.encoding + step * own


class Made(Options):
    """`study.json`: a study that was drawn up. features: those that all factors are measured in, the first decides.

    training: seconds of each factor's training. measuring: seconds that all measuring is reckoned to take.
    """

    study: Literal["compression"] = "compression"
    version: Annotated[int, Ge(VERSION), Le(VERSION)] = VERSION
    made_with: str
    options: CompressionOptions
    root: Path
    images: Count
    held_out: Count
    size: tuple[Count, Count]
    features: Annotated[tuple[Name, ...], MaxLen(10)]
    perceptual: str
    training: Seconds
    measuring: Seconds
    parts: Annotated[tuple[Part, ...], Several]

    def part(self, factor: int) -> Part:
        """That of a factor."""
        return next(part for part in self.parts if part.factor == factor)
