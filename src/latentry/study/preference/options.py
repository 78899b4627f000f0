"""What a preference study is made of, and the file that says so in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import Field, field_validator

from latentry.bounds import Count, Seed
from latentry.kinds import Options
from latentry.text import printable

VERSION = 1
MOST_PAIRS = 10_000
FEWEST_CHECKS = 5
"""A guesser answers four questions right once in 16 times: too often to tell anything of a person."""
ROLES = ("a", "b", "truth", "input")
QUESTIONS = {
    "samples": "Which of the two images looks more real?",
    "upscaling": "The image in the middle was enlarged. Which of the two is the better high-quality version of it?",
    "inpainting": "Parts of the image in the middle were filled in. In which of the two do these parts look more real?",
}
"""The paper asks the last two, of super-resolution and of inpainting, in both of its tasks."""
MIDDLE = {"upscaling": "low-resolution image", "inpainting": "image with holes"}
"""What the image between the two is."""


class PreferenceOptions(Options):
    """What is asked of people, and about which images."""

    a: Path | None = Field(None, description="Folder of the images of one method.")
    b: Path | None = Field(None, description="Folder of those of the other, of the same names or in the same order.")
    truth: Path | None = Field(None, description="Folder of the real images: adds task 1, each method against these.")
    input: Path | None = Field(
        None, description="Folder of what the images were made from, shown in the middle: low-resolution or masked."
    )
    about: Literal["auto", "samples", "upscaling", "inpainting"] = Field(
        "auto",
        description="What is asked: samples, upscaling or inpainting. auto: samples without --input, upscaling where "
        "it is smaller than the images, else inpainting.",
    )
    question: Annotated[str, MaxLen(300)] | None = Field(None, description="The question in your own words.")
    pairs: Count | None = Field(None, description="How many images of each folder are used, drawn at random; all.")
    checks: Annotated[int, Ge(0), Le(1000)] | None = Field(
        None, description="Attention checks: 0, or 5 and more; default: one in ten questions, at least 8."
    )
    seconds: Annotated[float, Ge(0.1), Le(60)] = Field(3.0, description="How long the images are seen.")
    seed: Seed = Field(0, description="Of the order, of the sides, and of which images are used.")

    @field_validator("checks")
    @classmethod
    def _enough(cls, value: int | None) -> int | None:
        if value is not None and 0 < value < FEWEST_CHECKS:
            raise ValueError(f"found {value}; accepted: 0 for none, or {FEWEST_CHECKS} and more, which tell a guesser")
        return value

    @field_validator("question")
    @classmethod
    def _asks(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("found nothing; accepted: a question that the page asks. Leave it out for the usual one")
        return value

    def given(self) -> dict[str, Any]:
        """The values that were named, plain: a path as the text of what it leads to."""
        return {
            name: printable(str(value.resolve())) if isinstance(value, Path) else value
            for name in self.model_fields_set
            if (value := getattr(self, name)) is not None
        }


class Pair(Options):
    """Images that belong together: their names in their folders."""

    a: str
    b: str
    truth: str | None = None
    input: str | None = None


class Made(Options):
    """`study.json`: a study that was drawn up."""

    study: Literal["preference"] = "preference"
    version: Annotated[int, Ge(VERSION), Le(VERSION)] = VERSION
    made_with: str
    options: PreferenceOptions
    question: str
    middle: str | None
    pairs: Annotated[tuple[Pair, ...], MaxLen(MOST_PAIRS)]
    spoilt: Annotated[tuple[Annotated[int, Ge(0), Le(MOST_PAIRS)], ...], MaxLen(1000)] = Field(
        description="The attention checks: of which pair each shows an image beside a spoilt copy of it."
    )
