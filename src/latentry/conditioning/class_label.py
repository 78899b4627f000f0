"""A class label: one learned row for each class, and one for no class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import MaxLen
from pydantic import Field
from torch import Tensor, nn

from latentry.bounds import Name, Rows, Width
from latentry.conditioning.base import BuildContext, Conditioner, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.conditioning.words.guess import Guess
from latentry.data.sample import Sample
from latentry.devices import sent
from latentry.errors import UsageError, did_you_mean, shown
from latentry.kinds import KindOptions
from latentry.text import number

FILE = "words.json"
SHOWN = 20  # names in an error


class ClassLabelOptions(KindOptions):
    """Options of `class_label`.

    via: `context` (one token for cross-attention) or `vector` (added to the time embedding). width: of a row.
    names: of the classes by number; default: the labels of the data. classes: how many, where there are no names.
    guess: the name of a text condition; where a request has a text and no class, the class is guessed from the words.
    null: the row that means "no class"; default: an extra row after the classes. Published models have it among
    their rows (1000 of the 1001 classes of cin256-v2), or have `none`: those always need a class.
    """

    kind: Literal["class_label"] = "class_label"
    via: Literal["context", "vector"] = "context"
    width: Width = 256
    names: Annotated[list[Name], MaxLen(1 << 22)] | None = None
    classes: Rows | None = None
    guess: str | None = None
    null: Annotated[int, Field(ge=0, lt=1 << 22)] | Literal["none"] | None = None


class ClassLabel(Conditioner):
    """Embeds labels by number or by name; -1 and None are the null.

    Args: options with `classes` set; `null` may be any row below `classes`, None for an extra row, or `none`.
    guess: the table of words for `options.guess`.
    """

    reads = frozenset({"label"})

    def __init__(self, options: ClassLabelOptions, guess: Guess | None = None) -> None:
        super().__init__()
        self.guess, self.guesses_from = guess, options.guess if guess else None
        classes = options.classes or 0
        self.options: ClassLabelOptions = options
        self.names = options.names or []
        self.classes = classes
        self.null_row = classes if options.null is None else None if options.null == "none" else options.null
        self.has_null = self.null_row is not None
        self.context_width = options.width if options.via == "context" else None
        self.vector_width = options.width if options.via == "vector" else None
        self.embedding = nn.Embedding(classes + (options.null is None), options.width)

    @classmethod
    def further(cls, options: KindOptions, name: str, factor: int) -> dict[str, Any]:
        own = options.model_dump()
        return own | {"names": None, "classes": None, "null": "none" if own["null"] == "none" else None}

    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        if isinstance(values, Tensor):
            values = values.tolist()
        rows = sent(torch.tensor([self.row(value) for value in values]), self.device)
        embedded = self.embedding(rows)  # (B, D)
        if self.context_width:
            return Cond(context=embedded[:, None])  # (B, 1, D)
        return Cond(vector=embedded)

    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> str | None:
        return sample.label

    def row(self, value: str | int | None) -> int:
        """The row of a label. Errors: `UsageError` that lists the labels."""
        if isinstance(value, str) and value in self.names:
            return self.names.index(value)
        if isinstance(value, int) and not isinstance(value, bool):
            row: int | None = value
        else:
            row = None if value is None else number(str(value))
        if value is None or row == -1:
            if self.null_row is None:
                raise UsageError(
                    "label: none; this model was trained on labelled images alone. Give a label, and guidance 1."
                )
            return self.null_row
        if row is not None and 0 <= row < self.classes:
            return row
        accepted = ", ".join(map(shown, self.names[:SHOWN])) + (", ..." if len(self.names) > SHOWN else "")
        accepted = f"{accepted}; or a number from 0 to {self.classes - 1}" if accepted else f"0 to {self.classes - 1}"
        hint = did_you_mean(value, self.names)
        raise UsageError(f'label: no "{shown(value)}"; known: {accepted}{hint}. Choose one of these.')

    def guessed(self, values: Sequence[Any], others: Sequence[Any]) -> list[Any]:
        return [self._guess(text) if value is None else value for value, text in zip(values, others, strict=True)]

    def _guess(self, text: Any) -> str | int | None:
        """The name of the class, where it has one, else its number; None where no word of the text was ever seen."""
        row = self.guess(text) if self.guess and isinstance(text, str) else None
        return self.names[row] if row is not None and self.names else row

    def files(self) -> dict[str, str]:
        return {FILE: self.guess.to_text()} if self.guess else {}


@torch.no_grad()
def rows_of(own: ClassLabel, other: ClassLabel) -> tuple[Tensor, list[str]]:
    """The rows of `own` with those of another model for the same classes, and the classes that it does not have.

    The same are those of equal name or, where one of the two has no names, of equal number if there are as many; a name
    that is a number is that number where the other has no names; and the row of no class.
    """
    rows, theirs = own.embedding.weight.clone(), other.embedding.weight
    if own.names and other.names:
        pairs = {row: other.names.index(name) for row, name in enumerate(own.names) if name in other.names}
    elif own.classes == other.classes:
        pairs = {row: row for row in range(own.classes)}
    else:
        numbers = {row: int(name) for row, name in enumerate(own.names) if name.isascii() and name.isdigit()}
        pairs = {row: number for row, number in numbers.items() if not other.names and number < other.classes}
    new = [own.names[row] if own.names else str(row) for row in range(own.classes) if row not in pairs]
    if own.null_row is not None and other.null_row is not None:
        pairs[own.null_row] = other.null_row
    for row, their_row in pairs.items():
        rows[row] = theirs[their_row]
    return rows, new


def build(options: ClassLabelOptions, context: BuildContext) -> ClassLabel:
    """Build from options, with the data's label names where the options have none.

    A table of words comes from among `context.files`, else from the labelled captions.
    """
    names = options.names or (list(context.labels) if options.classes in (None, len(context.labels)) else [])
    classes = options.classes or len(names)
    if not classes:
        raise UsageError(
            "conditioning class_label: the data has no labels; known: subfolders as classes, or `label` in "
            "metadata.jsonl. Give the data labels or take this conditioner out."
        )
    if options.names and classes < len(names):
        raise UsageError(f"conditioning class_label: {len(names)} names for {classes} classes. Leave `classes` out.")
    if isinstance(options.null, int) and options.null >= classes:
        raise UsageError(f"conditioning class_label: null is {options.null}; known: 0 to {classes - 1}, or none.")
    complete = options.model_copy(update={"names": names or None, "classes": classes})
    return ClassLabel(complete, _table(context) if options.guess else None)


def _table(context: BuildContext) -> Guess:
    if FILE in context.files:
        return Guess.parse(context.files[FILE], FILE)
    guess = Guess.of(context.labelled())
    if not guess.counts:
        raise UsageError(
            "conditioning class_label: guess needs captions of labelled images; known: `text` and `label` in "
            "metadata.jsonl. Leave `guess` out."
        )
    return guess


KIND = ConditionerKind(ClassLabelOptions, build, ClassLabel)
