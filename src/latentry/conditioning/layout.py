"""Where which objects are: boxes with classes as token numbers, read by a small transformer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import MaxLen
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from latentry.bounds import Heads, Layers, Length, Name, Rows, Width
from latentry.conditioning import boxes
from latentry.conditioning.base import BuildContext, Conditioner, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.data.folders.select import in_order
from latentry.data.sample import Boxes, Sample
from latentry.devices import sent
from latentry.errors import LatentryError, UsageError, did_you_mean, shown
from latentry.kinds import KindOptions
from latentry.nn.text.encoder import TextTransformer
from latentry.text import number

FILE = "objects.json"
SHOWN = 20  # names in an error


class LayoutOptions(KindOptions):
    """Options of `layout`; the defaults are those of the paper's layout-to-image model.

    width, layers, heads, head_channels: of the transformer. objects: how many boxes there is room for; default: as many
    as `length` holds, 30 of 92. length: tokens of a layout, three a box and two for the crop; default: by `objects`.
    vocabulary: how many tokens there are, classes and places alike; the last means "no object". A place is one of
    n x n, n the root of the vocabulary: 90 x 90 of 8192. crop: whether two tokens say which part of the image is seen
    (the whole), as published. names: of the classes by number; default: those of the data, sorted. pooled: boxes are
    also embedded by themselves for the time embedding, from which small models learn what is asked for far sooner than
    by cross-attention alone: the `sum` of those there are, or the mean of `each` there is room for, in which one of
    thirty counts little; null as published.
    """

    kind: Literal["layout"] = "layout"
    width: Width = 512
    layers: Layers = 16
    heads: Heads = 8
    head_channels: Width = 64
    objects: Annotated[int, Field(ge=1, le=20_000)] | None = None
    length: Length = 92
    vocabulary: Rows = Field(default=8192, ge=2)
    crop: bool = True
    names: Annotated[list[Name], MaxLen(1 << 22)] | None = None
    pooled: Literal["each", "sum"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _length(cls, values: Any) -> Any:
        """The length of so many objects, where it is not said."""
        if isinstance(values, Mapping) and type(values.get("objects")) is int and values.get("length") is None:
            extra = 2 if values.get("crop", True) else 0
            return {**values, "length": 3 * values["objects"] + extra}
        return values

    @model_validator(mode="after")
    def _fits(self) -> LayoutOptions:
        if self.objects is not None and self.length < 3 * self.objects + 2 * self.crop:
            raise ValueError(f"length {self.length} does not hold {self.objects} objects; leave length out")
        return self

    @property
    def room(self) -> int:
        """How many boxes a layout holds."""
        return self.objects or max(self.length - 2 * self.crop, 0) // 3


class Layout(Conditioner):
    """Boxes, or their token numbers, to a context (B, length, width); fewer are filled up with "no object".

    With `pooled` also to a vector of each box (B, objects, width), or to their sum (B, width).
    The null is "no object" everywhere, the crop's tokens too; a layout without boxes still has those.
    Source: Rombach et al. 2022, section 4.3.1 and appendix D.3.
    names: of the classes, by number; none for a published model, whose classes are asked for by number.
    """

    reads = frozenset({"boxes"})

    def __init__(self, options: LayoutOptions, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.options: LayoutOptions = options
        self.names = list(names)
        self.numbers = {name: row for row, name in enumerate(self.names)}
        self.context_width = options.width
        self.transformer = TextTransformer(
            vocabulary=options.vocabulary,
            length=options.length,
            width=options.width,
            layers=options.layers,
            heads=options.heads,
            head_channels=options.head_channels,
        )
        tokens, positions = self.transformer.token.weight, self.transformer.position.weight
        boxes.begin(tokens, positions, options.vocabulary, len(self.names))
        self.vector_width = options.width if options.pooled else None
        self.pool = nn.Linear(3 * options.width, options.width) if options.pooled else None
        self.box = nn.Linear(options.width, options.width) if options.pooled == "sum" else None

    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        o = self.options
        rows = [[o.vocabulary - 1] * o.length if value is None else self.asked(value) for value in values]
        ids = sent(torch.tensor(rows), self.device)  # (B, L)
        return Cond(context=self.transformer(ids), vector=self._pooled(ids))  # (B, L, D), (B, N, D)

    def _pooled(self, ids: Tensor) -> Tensor | None:
        """What each box is, from its three tokens alone."""
        if self.pool is None:
            return None
        tokens: Tensor = self.transformer.token(ids[:, : 3 * self.options.room])
        vectors: Tensor = self.pool(tokens.unflatten(1, (-1, 3)).flatten(2))  # (B, N, D)
        if self.box is None:
            return vectors
        there = ids[:, : 3 * self.options.room : 3] != self.options.vocabulary - 1  # (B, N)
        return (self.box(F.silu(vectors)) * there[..., None]).sum(1)

    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> NDArray[np.int64] | None:
        """The tokens of a sample's boxes in drawn order, as published; of too many boxes the largest."""
        if sample.boxes is None:
            return None
        found, room = sample.boxes, self.options.room
        kept = np.argsort(-_areas(found), kind="stable")[:room]
        order = rng().permutation(kept) if len(kept) > 1 else kept
        rows = [self.row(found.names[i]) for i in order]
        return np.array(self._filled(rows, found.corners[order].astype(np.float64).tolist()))

    def asked(self, value: Any, size: tuple[int, int] | None = None) -> list[int]:
        """Tokens of a layout: of boxes as `boxes.told` reads them, or as they are where it is token numbers already."""
        if isinstance(value, Mapping) or (isinstance(value, list | tuple) and not _are_numbers(value)):
            told, room = boxes.told(value, size), self.options.room
            if len(told) > room:
                raise UsageError(f"layout: {len(told)} boxes; this model reads at most {room}. Leave the others out.")
            return self._filled([self.row(box.label) for box in told], [box.corners for box in told])
        return self._tokens(value)

    def row(self, label: str | int) -> int:
        """The number of a class. Errors: `UsageError` that lists them."""
        if isinstance(label, str) and label in self.numbers:
            return self.numbers[label]
        row = label if isinstance(label, int) else number(label)
        known = len(self.names) or self.options.vocabulary - 1
        if row is not None and 0 <= row < known:
            return row
        accepted = f"a number from 0 to {known - 1}"
        if self.names:
            accepted = f"{', '.join(map(shown, self.names[:SHOWN]))}{', ...' if known > SHOWN else ''}; or {accepted}"
        hint = did_you_mean(label, self.names)
        raise UsageError(f'layout: no class "{shown(label)}"; known: {accepted}{hint}. Choose one of these.')

    def boxes(self, tokens: Sequence[int]) -> list[boxes.Told]:
        """The boxes that token numbers stand for, by name where their classes have names."""
        o = self.options
        found = boxes.boxes(tokens, vocabulary=o.vocabulary, objects=o.room)
        return [boxes.Told(self.names[row] if row < len(self.names) else row, corners) for row, corners in found]

    def files(self) -> dict[str, str]:
        return {FILE: json.dumps(self.names, indent=0) + "\n"} if self.names and not self.options.names else {}

    def _filled(self, rows: Sequence[int], corners: Sequence[Sequence[float]]) -> list[int]:
        o = self.options
        flat = boxes.tokens(rows, corners, vocabulary=o.vocabulary, objects=o.room, crop=o.crop)
        return flat + [o.vocabulary - 1] * (o.length - len(flat))

    def _tokens(self, value: Any) -> list[int]:
        o = self.options
        try:
            numbers = [int(number) for number in value]
        except (TypeError, ValueError):
            raise UsageError(
                f"layout: {shown(repr(value))} is no layout; accepted: a list of {boxes.WANTED}, or of token numbers"
            ) from None
        if len(numbers) > o.length or any(not 0 <= number < o.vocabulary for number in numbers):
            raise UsageError(
                f"layout: {len(numbers)} tokens from {min(numbers)} to {max(numbers)}; accepted are at most {o.length} "
                f"tokens from 0 to {o.vocabulary - 1}."
            )
        return numbers + [o.vocabulary - 1] * (o.length - len(numbers))


def _are_numbers(value: Sequence[Any]) -> bool:
    return bool(value) and not any(isinstance(one, Mapping | str | list | tuple | None) for one in value)


def _areas(found: Boxes) -> NDArray[np.float32]:
    sides = found.corners[:, 2:] - found.corners[:, :2]
    return np.asarray(sides[:, 0] * sides[:, 1])


def build(options: LayoutOptions, context: BuildContext) -> Layout:
    """Build from options, with the names of the classes: given, kept among `context.files`, and those of the data.

    Errors: `UsageError` for data with other classes than the names given, or with more than there are tokens for.
    """
    found = [names for names in context.objects() if names]
    present = {name for names in found for name in names}
    names = list(options.names or (_parsed(context.files[FILE]) if FILE in context.files else ()))
    new = [name for name in in_order(present) if name not in set(names)]
    if options.names and new:
        raise UsageError(
            f"conditioning layout: the data has objects of {len(new)} classes that `names` has not, as "
            f"{', '.join(map(shown, new[:5]))}{did_you_mean(new[0], names)}. Add them at the end, or leave `names` out."
        )
    names += new
    if names:
        _check(options, names)
    over = sum(len(names) > options.room for names in found)
    if over:
        context.report(
            f"layout: {over} of {len(found)} images with boxes have more than {options.room} of them (up to "
            f"{max(map(len, found))}); the largest {options.room} are used"
        )
    return Layout(options, names)


def _check(options: LayoutOptions, names: Sequence[str]) -> None:
    """Raise `UsageError` for options by which no box could be told from another, or from none."""
    if not options.room:
        raise UsageError(f"conditioning layout: length {options.length} holds no box. Set `objects` instead.")
    if boxes.sections(options.vocabulary) < 2 or boxes.sections(options.vocabulary) ** 2 == options.vocabulary:
        raise UsageError(
            f"conditioning layout: with a vocabulary of {options.vocabulary} the token of the last place is that of "
            f'"no object" as well; accepted: any number that is no square. Set {options.vocabulary + 1}.'
        )
    if len(names) >= options.vocabulary:
        raise UsageError(
            f"conditioning layout: {len(names)} classes for {options.vocabulary} tokens, of which the last means none. "
            "Set a larger `vocabulary`."
        )


def _parsed(text: str) -> list[str]:
    try:
        names = json.loads(text)
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
        reason = "no list of names"
    except (ValueError, RecursionError) as error:
        reason = shown(str(error))
    raise LatentryError(f"{FILE}: is not a list of the names of classes ({reason}). Take another copy.")


KIND = ConditionerKind(LayoutOptions, build, Layout)
