"""Prompt-to-prompt: an image, drawn or one's own, and what becomes of it where words of its prompt change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from latentry.bounds import LONGEST_PROMPT, MOST_IMAGES
from latentry.errors import UsageError, did_you_mean, shown
from latentry.kinds import KindOptions
from latentry.tasks.inputs.images import read_image
from latentry.tasks.inputs.window import check_least, multiple_of
from latentry.tasks.inputs.window import whole as all_of
from latentry.tasks.options import Between, OnCommandLine
from latentry.tasks.sampling import Sampling, no_denoiser, values_and_seeds
from latentry.tasks.size import Size, fitting_size
from latentry.tasks.task import Request, Task
from latentry.text import printable, whole

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.diffusion.contracts import Denoise, Step
    from latentry.diffusion.masking import Solve
    from latentry.diffusion.schedule import Level
    from latentry.models.model import Model
    from latentry.tasks.inputs.window import Window

PROMPTS = "text"
"""The condition that is edited."""
INVERTIBLE = {"kind": "ddim"}
"""The solver whose steps are taken back for an image of one's own."""


def weights_of(value: Any) -> Any:
    """`star=1.5,dark red=0.5` as a dictionary. Raises ValueError."""
    if not isinstance(value, str):
        return value
    weights = {}
    for part in value.split(","):
        word, _, number = part.rpartition("=")
        try:
            weights[word.strip()] = float(number)
        except ValueError:
            word = ""
        if not word.strip():
            raise ValueError(f"{shown(part)}; accepted: WORD=FACTOR, as in star=1.5, more after commas")
    return weights


class EditOptions(Sampling):
    """Options of `edit`. `n` counts originals: each comes with its edit."""

    text: Annotated[str, OnCommandLine(positional=True)] = Field(
        max_length=LONGEST_PROMPT, description="What the originals show."
    )
    to: str | None = Field(
        None, max_length=LONGEST_PROMPT, description="The changed prompt; default: TEXT, for weights alone."
    )
    weight: Annotated[
        dict[str, Annotated[float, Field(ge=-100, le=100)]] | None,
        Field(max_length=100),
        BeforeValidator(weights_of),
        OnCommandLine(metavar="WORD=FACTOR"),
    ] = Field(None, description="Stress words of the changed prompt, as in star=1.5; below 1 says less of it.")
    image: Annotated[Path | None, OnCommandLine(metavar="FILE")] = Field(
        None, description="The image file that TEXT describes and that is edited; default: one is drawn."
    )
    cross_share: float = Field(0.8, ge=0, le=1, description="Share of the steps that keep where each word is.")
    self_share: float = Field(0.4, ge=0, le=1, description="Share of the steps that keep the shapes.")
    n: Annotated[int, Between(1, "ask for at least one image", MOST_IMAGES), OnCommandLine(flags=("-n", "--count"))] = (
        Field(1, description="How many originals.")
    )
    size: Annotated[Size, OnCommandLine(metavar="HxW")] = Field(None, description="Size; default: the model's.")

    @field_validator("to")
    @classmethod
    def _whole_text(cls, to: str | None) -> str | None:
        try:
            return to if to is None else whole(to, "to")
        except UsageError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _says_what_changes(self) -> EditOptions:
        if self.to is None and not self.weight:
            raise ValueError("nothing is changed; give the changed prompt (--to) or stress words (--weight star=1.5)")
        return self

    @model_validator(mode="after")
    def _can_be_inverted(self) -> EditOptions:
        if self.image is None:
            return self
        if self.solver is not None and self.sampling()["solver"] not in (INVERTIBLE, {**INVERTIBLE, "eta": 0}):
            found = ", ".join(map(str, self.sampling()["solver"].values()))
            raise ValueError(
                f"solver: {shown(found)} cannot be taken back from an image to its noise; accepted with an image: ddim "
                "with eta 0. Leave it out."
            )
        if self.tile is not None:
            raise ValueError("tile: an image is edited whole, for words look at all of it; leave it out")
        if self.count != 2:
            raise ValueError(
                f"n: {self.count // 2} edits of an image; nothing is drawn at random, so all would be one. Ask for one."
            )
        return self

    @property
    def count(self) -> int:
        return 2 * super().count

    def sampling(self) -> dict[str, Any]:
        chosen = super().sampling()
        if self.image is None:
            return chosen
        given = chosen.get("solver", INVERTIBLE)
        named = given.model_dump() if isinstance(given, KindOptions) else given
        return {**chosen, "solver": {"kind": named} if isinstance(named, str) else named}

    @property
    def prompts(self) -> tuple[str, str]:
        """Before and after."""
        return self.text, self.text if self.to is None else self.to


def request(options: EditOptions, model: Model) -> Request:
    """Pairs of an original and its edit from the same noise; whatever else is asked for holds for both."""
    from latentry.models.editing import PromptEdit

    assert model.denoiser is not None  # or `why_not` has refused
    values, seeds = values_and_seeds(options, model)
    edit = PromptEdit(
        PROMPTS, *options.prompts, options.weight or {}, cross_share=options.cross_share, self_share=options.self_share
    )
    _check_words(edit.weights, edit.edited, model)
    doubled = {name: [value for value in each for _ in range(2)] for name, each in values.items()}
    doubled[PROMPTS] = [edit.source, edit.edited] * len(seeds)
    facts = {
        "edited_from": edit.source,
        "edited_to": edit.edited,
        "cross_share": f"{edit.cross_share:g}",
        "self_share": f"{edit.self_share:g}",
        **(
            {"weight": ", ".join(f"{word}={factor:g}" for word, factor in edit.weights.items())} if edit.weights else {}
        ),
    }
    stems = [f"seed-{seed}" for seed in seeds] if options.image is None else [printable(options.image.stem)]
    named = [{"name": f"{stem}-{what}", **facts} for stem in stems for what in ("original", "edit")]
    seeds, guessed = [seed for seed in seeds for _ in range(2)], model.denoiser.guessed(doubled)
    if options.image is not None:
        return _of_image(options, options.image, model, Request(guessed, seeds, (0, 0), facts=named, edit=edit))
    return Request(guessed, seeds, fitting_size(options.size, model), facts=named, edit=edit)


def _of_image(options: EditOptions, path: Path, model: Model, request: Request) -> Request:
    """The request, begun from an image: its latent is taken back to noise, and its own row follows that."""
    assert model.denoiser is not None
    if model.denoiser.prediction.regresses:
        raise UsageError(
            "image: this model was trained with `prediction: regression`: it has no noise to take an image back to; "
            "accepted: a model that samples. Name such a one."
        )
    picture = read_image(path, model.config.data)
    size = picture.size
    check_least(path, size)
    place = all_of(size, multiple_of(model))
    if options.size is not None and fitting_size(options.size, model) != place.size:
        raise UsageError(f"size: an image is edited at its own, {size[0]}x{size[1]}. Leave it out.")
    told = {**request.facts[0], "image": printable(str(path))}
    return replace(
        request,
        size=place.size,
        begin=(lambda: model.encode(place.cut(picture.image)[None]).expand(2, -1, -1, -1), None),
        walk=partial(_inverting, model, {name: each[:1] for name, each in request.values.items()}),
        passes=2,  # up, and down again
        back=partial(_uncut, place),
        facts=[{**told, "name": one["name"]} for one in request.facts],
        units=[picture.own] * 2,
        notes=picture.notes,
    )


def _inverting(model: Model, values: Mapping[str, Sequence[Any]], solve: Solve) -> Solve:
    """The solver along the inversion of an image under the values of its own row, without guidance."""
    from latentry.diffusion.guidance.classifier_free import classifier_free
    from latentry.diffusion.inversion import along
    from latentry.models.bind import bind

    denoiser = model.denoiser
    assert denoiser is not None

    def walk(denoise: Denoise, x: Tensor, levels: Sequence[Level], **how: Any) -> Iterator[Step]:
        told = denoiser.condition(values, 1, (x.shape[2], x.shape[3]))
        return along(solve, classifier_free(bind(denoiser, (told,), levels), 1.0))(denoise, x, levels, **how)

    return walk


def _uncut(place: Window, images: Tensor) -> Tensor:
    return place.uncut(images)


def finish(images: Tensor, request: Request) -> Tensor:
    """Where nothing is changed, the originals stand for their edits too: they are the same to the bit."""
    same = request.edit is not None and request.edit.changes_nothing
    images = images if request.back is None else request.back(images)
    return images.repeat_interleave(2, dim=0) if same else images


def _check_words(weights: Any, prompt: str, model: Model) -> None:
    from latentry.conditioning.words.alignment import places_of
    from latentry.conditioning.words.prompts import Prompts

    assert model.denoiser is not None
    prompts = model.denoiser.conditioners[PROMPTS]
    assert isinstance(prompts, Prompts)
    for word in weights:
        if not places_of(prompts.tokenizer, prompt, word):
            near = did_you_mean(word, [other for other in prompt.split() if other != word])
            raise UsageError(
                f'weight: "{shown(word)}" is not in what the model reads of "{shown(prompt)}"{near}. Name words of it.'
            )
        if unknown := prompts.unknown(word):
            raise UsageError(
                f"weight: the model does not know {shown(', '.join(unknown))}. Stress words that it knows."
            )


def why_not(model: Model) -> str | None:
    """Why a model cannot edit: it needs prompts that its pixels attend to."""
    from latentry.conditioning.words.prompts import Prompts

    if model.denoiser is None:
        return no_denoiser(model)
    if not isinstance(dict(model.denoiser.conditioners.items()).get(PROMPTS), Prompts):
        takes = ", ".join(model.denoiser.conditioners) or "nothing"
        return f"takes no text (it takes: {takes}), and edit changes a prompt. Use a model with text."
    if not model.denoiser.unet.cross_attention_paths:
        return (
            "no layer attends to the text, and edit works by that attention. Train with a transformer_depth above 0 "
            "at a level with attention."
        )
    return None


TASK = Task(EditOptions, request, why_not=why_not, finish=finish)
