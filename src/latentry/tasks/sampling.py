"""What all tasks that sample have in common: conditions, and how the latents are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationInfo,
    field_validator,
    model_validator,
)

from latentry.bounds import LARGEST_SEED, LARGEST_SIDE, LONGEST_PROMPT, MOST_IMAGES, Guidance, Reuse, Share
from latentry.errors import UsageError, did_you_mean, shown
from latentry.kinds import KindOptions
from latentry.tasks import inputs
from latentry.tasks.options import Between, OnCommandLine, TaskOptions
from latentry.text import whole

if TYPE_CHECKING:
    from latentry.models.model import Model

OF_SAMPLING = (
    "steps",
    "solver",
    "levels",
    "guidance",
    "guidance_interval",
    "guidance_rescale",
    "classifier_scale",
    "clip",
    "reuse",
)
"""The options that replace the model's own, where they are set."""
CONDITIONS = ("text", "label", "layout", "semantic", "embedding")
"""The fields that are conditions; a recipe may name further ones as it likes."""


def _pair(value: Any) -> Any:
    """`0.2,0.8` as two numbers. Raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        first, last = map(float, value.split(","))
    except ValueError:
        raise ValueError(f'found "{shown(value)}"; accepted: two shares from 0 to 1, as in 0.2,0.8') from None
    return first, last


class Sampling(TaskOptions):
    """Options of a task that samples. Keywords without a field are conditions, for a recipe names them as it likes.

    A condition is one value, a list of values, or None for no condition; lists must be equally long. A value that is a
    list itself (the tokens of a layout) stands in a list; a tuple is several values if they are texts or numbers, else
    one (an image with its mask).
    """

    model_config = ConfigDict(extra="allow")

    text: Annotated[Any, OnCommandLine(positional=True)] = Field(
        None, description="What the images should show, for models with text."
    )
    label: Any = Field(None, description="The class, for models with classes or a classifier.")
    layout: Annotated[Any, OnCommandLine(metavar="BOXES.json")] = Field(
        None, description="Boxes, for models with layouts: label and bbox (x, y, width, height) of each, in JSON."
    )
    semantic: Annotated[Any, OnCommandLine(metavar="MAP.png")] = Field(
        None, description="A map of classes, for models with semantic maps; images are as large."
    )
    embedding: Annotated[Any, OnCommandLine(metavar="ARRAY.npy")] = Field(
        None, description="An array of vectors, for models with embeddings."
    )
    # The one option with two defaults: who types a command wants to see what a model can do, a call wants an image.
    n: Annotated[
        int, Between(1, "ask for at least one image", MOST_IMAGES), OnCommandLine(flags=("-n", "--count"), default=16)
    ] = Field(1, description="How many images.")
    steps: int | None = Field(None, ge=1, le=1_000_000, description="Network evaluations; default: the model's.")
    solver: str | InstanceOf[KindOptions] | Annotated[dict[str, Any], Field(max_length=100)] | None = Field(
        None, description="Solver, with options as in dpmpp_2m:eta=1; default: the model's."
    )
    levels: str | None = Field(None, description="How noise levels are chosen; default: the model's.")
    guidance: Guidance | None = Field(None, description="Guidance scale; 1 is none; default: the model's.")
    guidance_interval: Annotated[
        tuple[Share, Share] | None, BeforeValidator(_pair), OnCommandLine(metavar="FROM,TO")
    ] = Field(
        None,
        description="Noise levels at which guidance acts, in shares of the schedule's times (1: most noise), as in "
        "0.2,0.8; default: the model's.",
    )
    guidance_rescale: Share | None = Field(
        None, description="How far guidance keeps the contrast of unguided samples, 0 to 1; default: the model's."
    )
    classifier_scale: Guidance | None = Field(
        None,
        description="How strongly the model's classifier guides to the label; default: 1, or 0 where the denoiser "
        "takes the label itself.",
    )
    autoguide: Annotated[Any, OnCommandLine(metavar="PATH[@step-N]")] = Field(
        None,
        description="A run or model that is worse than this one, such as an earlier checkpoint: guidance then leads "
        "away from it, also without conditions.",
    )
    classifier: Annotated[Any, OnCommandLine(metavar="PATH")] = Field(
        None,
        description="A run or model whose classifier of noisy latents guides to the label; default: the model's own.",
    )
    clip: Annotated[bool | None, OnCommandLine(hidden=True)] = Field(
        None, description="Hold every predicted x0 inside [-1, 1], for models of pixels; default: the model's."
    )
    reuse: Reuse | None = Field(
        None,
        description="Compute the deep features of the network at one of so many evaluations, and reuse them at the "
        "others: faster, but an approximation (docs/performance.md tells its cost); default: the model's, 1: exact.",
    )
    tile: int | None = Field(
        None, ge=1, le=LARGEST_SIDE, description="Side in pixels of tiles to denoise in; default: the image whole."
    )
    overlap: int | None = Field(
        None, ge=0, le=LARGEST_SIDE, description="Pixels by which tiles overlap; default: a quarter of a tile."
    )
    seed: Annotated[int, Between(0, "seeds are 0 or above", LARGEST_SEED - MOST_IMAGES)] = Field(
        0, description="Image i of seed S is image 0 of seed S + i."
    )

    @field_validator("solver", mode="before")
    @classmethod
    def _with_options(cls, solver: Any) -> Any:
        return solver_of(solver) if isinstance(solver, str) else solver

    @field_validator(*inputs.READERS, mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        return inputs.read(info.field_name or "", value)

    @model_validator(mode="after")
    def _whole_texts(self) -> Sampling:
        """Tokenizers and files refuse half letters, each with a traceback of its own."""
        for name, values in self.conditions().items():
            for value in values:
                if isinstance(value, str) and len(value) > LONGEST_PROMPT:
                    raise ValueError(f"{name}: {len(value)} letters; accepted: at most {LONGEST_PROMPT}")
                try:
                    whole(value, shown(name)) if isinstance(value, str) else None
                except UsageError as error:
                    raise ValueError(str(error)) from None
        return self

    @property
    def count(self) -> int:
        return self.asked

    @property
    def asked(self) -> int:
        """How many images `n` and the conditions ask for. Where a task makes others, as frames are or an original with
        its edit, none is drawn by itself."""
        return self.n * max((len(values) for values in self.conditions().values()), default=1)

    def sampling(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in OF_SAMPLING if getattr(self, name) is not None}

    def conditions(self) -> dict[str, list[Any]]:
        """Those that are set, by name: the values of each as a list."""
        named = {**{name: getattr(self, name) for name in CONDITIONS}, **(self.model_extra or {})}
        return {name: _listed(value) for name, value in named.items() if value is not None}


def solver_of(text: str) -> str | dict[str, Any]:
    """`ddim`, `ddim:eta=0.5` (more options after commas) or `{kind: ddim, eta: 0.5}`. Raises ValueError."""
    from latentry.config import parse_value

    try:
        if text.lstrip().startswith("{"):
            value = parse_value(text, "solver")
            if not isinstance(value, dict):
                raise ValueError(f"{shown(text)}; accepted: as in ddim:eta=0.5")
            return value
        kind, colon, options = text.partition(":")
        parts = [part.partition("=") for part in options.split(",")] if colon else []
        if not all(name.strip() and equals for name, equals, _ in parts):
            raise ValueError(f"{shown(text)}; accepted: as in ddim:eta=0.5")
        return {"kind": kind, **{n.strip(): parse_value(v, "solver") for n, _, v in parts}} if parts else text
    except UsageError as error:
        raise ValueError(str(error).removeprefix("solver: ")) from None


def values_and_seeds(
    options: Sampling, model: Model, size: tuple[int, int] | None = None
) -> tuple[dict[str, list[Any]], list[int]]:
    """For each condition one value an image, and the seeds: `n` images of each value, image i with seed + i.

    size: (H, W) of the images; None: the model's.
    Raises UsageError for a condition that the model does not take, for lists of other lengths, and for too many images.
    """
    accepted = [] if model.denoiser is None else list(model.denoiser.conditioners)
    conditions, classified = options.conditions(), model.classifier is not None
    for name in conditions:
        if name not in accepted and not (name == "label" and classified):
            fields = (
                [] if name in CONDITIONS else [field for field in type(options).model_fields if field not in CONDITIONS]
            )
            raise UsageError(
                f"{shown(name)}: this model takes no such condition; it takes: {', '.join(accepted) or 'none'}"
                f"{did_you_mean(name, [*accepted, *fields])}. Leave it out."
            )
    if options.count > MOST_IMAGES:
        raise UsageError(f"n: {options.count} images at once; ask for at most {MOST_IMAGES} at a time")
    most = max((len(values) for values in conditions.values()), default=1)
    for name, values in conditions.items():
        if not most:
            raise UsageError(f"{shown(name)}: an empty list; give at least one value, or leave it out")
        if len(values) not in (1, most):
            raise UsageError(f"{name}: {len(values)} values where others have {most}; give one, or as many")
    taken = {name: _asked(model, name, each, size) for name, each in spread(options).items() if name in accepted}
    return taken, [options.seed + i for i in range(options.n * most)]


def spread(options: Sampling) -> dict[str, list[Any]]:
    """For each condition that is set one value an image: the first `n` images have the first."""
    conditions = options.conditions()
    most = max((len(values) for values in conditions.values()), default=1)
    return {name: [v[i % len(v)] for i in range(most) for _ in range(options.n)] for name, v in conditions.items()}


def _asked(model: Model, name: str, values: list[Any], size: tuple[int, int] | None) -> list[Any]:
    """The values of a condition as its conditioner takes them. Raises UsageError for what it cannot draw."""
    assert model.denoiser is not None
    conditioner = model.denoiser.named_conditioners()[name]
    of = size or model.config.data.size
    return [None if value is None else conditioner.asked(value, of) for value in values]


def no_denoiser(model: Model) -> str | None:
    """Why a model cannot sample: None where it has its second stage."""
    if model.denoiser is not None:
        return None
    return "holds a first stage only; it reconstructs, but cannot sample. Train the diffusion stage."


def _listed(value: Any) -> list[Any]:
    plain = isinstance(value, tuple) and all(isinstance(part, str | int | None) for part in value)
    return list(value) if isinstance(value, list) or plain else [value]
