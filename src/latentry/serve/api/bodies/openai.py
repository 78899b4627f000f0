"""The fields of OpenAI's images API, as its clients send them, and what they mean to a task."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from pydantic import ConfigDict, Field

from latentry.bounds import LONGEST_PROMPT, MOST_IMAGES
from latentry.errors import UsageError, shown
from latentry.serve.api.bodies.looks import Look
from latentry.serve.engine.models import Facts, Models
from latentry.text import number

ALIASES = (
    *("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "chatgpt-image-latest", "dall-e-2", "dall-e-3"),
    "default",
)
"""Names that clients have built in: the first model, unless one is called so."""
LARGEST_DRAWN = 2**32
OF_QUALITY = {"low": 0.5, "high": 2.0, "hd": 2.0}


class ImageRequest(Look):
    """What generations, edits and variations have in common. Other fields are the task's own (`extra_body`)."""

    model_config = ConfigDict(extra="allow")

    model: str | None = Field(None, max_length=200, description="Default: the first model that is served.")
    n: int | None = Field(None, ge=1, le=MOST_IMAGES, description="How many images; default: 1.")
    size: str | None = Field(
        None, pattern=r"^(auto|\d{1,6}x\d{1,6})$", description="WIDTHxHEIGHT, or auto: that of the model or image."
    )
    quality: Literal["auto", "standard", "low", "medium", "high", "hd"] | None = Field(
        None, description="low takes half the steps, high twice as many, all others the model's own."
    )
    response_format: Literal["url", "b64_json"] | None = Field(None, description="Accepted; base64 is always given.")
    stream: bool | None = Field(None, description="Events instead of one answer.")
    partial_images: int | None = Field(None, ge=0, le=3, description="How many images on the way are streamed.")
    user: str | None = Field(None, max_length=1000, description="Accepted and not kept.")
    moderation: Literal["auto", "low"] | None = Field(None, description="Accepted; nothing is moderated.")
    style: Literal["vivid", "natural"] | None = Field(None, description="Accepted, without effect.")
    input_fidelity: Literal["high", "low"] | None = Field(None, description="Accepted, without effect.")

    @property
    def previews(self) -> int:
        """How many images on the way."""
        return (self.partial_images or 0) if self.stream else 0

    def own(self) -> dict[str, Any]:
        """The task's own fields."""
        return dict(self.model_extra or {})

    def look(self) -> Look:
        """How the images are encoded."""
        return Look(**{name: getattr(self, name) for name in Look.model_fields})


class Generation(ImageRequest):
    """The body of `POST /v1/images/generations`."""

    prompt: str | None = Field(None, max_length=LONGEST_PROMPT, description="Text, or the class for models of classes.")


class Edit(ImageRequest):
    """The body of `POST /v1/images/edits`, with `image` or `image[]`, and `mask`, transparent where to edit."""

    prompt: str | None = Field(None, max_length=LONGEST_PROMPT, description="What the edited image shows.")


class Variation(ImageRequest):
    """The body of `POST /v1/images/variations`, with `image`."""


def size_of(size: str | None) -> tuple[int, int] | None:
    """(H, W) of `WIDTHxHEIGHT`; None for `auto`."""
    if size is None or size == "auto":
        return None
    width, height = (number(part) or 0 for part in size.split("x"))
    return height, width


def options_of(asked: ImageRequest, models: Models, model: str, prompt: str | None) -> dict[str, Any]:
    """The task's options but for its files and size. Raises UsageError for a prompt that the model has no use for."""
    facts, own = models.facts[model], asked.own()
    options: dict[str, Any] = {"n": asked.n or 1, "seed": secrets.randbelow(LARGEST_DRAWN), **own}
    if asked.background == "transparent" and not facts.alpha:
        raise UsageError("background: transparent; the images of this model are opaque. Leave it out.")
    if prompt and not {"text", "label"} & own.keys():
        options |= _said(prompt, facts)
    share = OF_QUALITY.get(asked.quality or "")
    if share and "steps" not in own:
        steps = facts.told.get("sample", {}).get("steps")
        options |= {} if steps is None else {"steps": max(1, round(steps * share))}
    return options


def _said(prompt: str, facts: Facts) -> dict[str, str]:
    """A prompt as the model's text, or as its class."""
    if "text" in facts.conditions:
        return {"text": prompt}
    if prompt in facts.labels:
        return {"label": prompt}
    known = ", ".join(map(shown, facts.labels[:10]))
    takes = f"one of its classes: {known}" if known else "none; leave it empty"
    raise UsageError(f'prompt: "{shown(prompt)}": this model reads no text; accepted: {takes}.')
